import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { demo, key } from './setup.mjs';

// The demo model is small: it is asked in words that it knows, and always takes its likeliest one.
const model = 'deepseek-v4-flash';
const ask = { model, temperature: 0 };
const openai = new OpenAI({ baseURL: `${demo}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: demo, apiKey: key, maxRetries: 0 });
const user = (content) => [{ role: 'user', content }];
const name = 'read_file', description = 'Read the file';
const parameters = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] };
const errand = 'Read the file with path docs/notes.md', path = { path: 'docs/notes.md' };
const found = 'grey window 41', told = `The result is: ${found}`;

test('chat, streamed', async () => {
  const stream = openai.chat.completions.stream({ ...ask, messages: user('What is 17 + 25?'), stream_options: { include_usage: true } });
  let deltas = 0, reasoning = '';
  stream.on('chunk', ({ choices }) => { reasoning += choices[0]?.delta.reasoning_content ?? ''; });
  stream.on('content', () => deltas++);
  const { choices, usage } = await stream.finalChatCompletion();
  assert.equal(choices[0].message.content, '17 + 25 = 42.');
  assert.match(reasoning, /carry 1/);
  assert.equal(choices[0].finish_reason, 'stop');
  assert.ok(deltas > 1, `the answer comes in pieces, got ${deltas}`);
  assert.ok(usage.completion_tokens > usage.completion_tokens_details.reasoning_tokens);
});

test("chat, the client's own tool loop", async () => {
  const asked = [];
  const runner = openai.chat.completions.runTools({
    ...ask, messages: user(errand), stream: true,
    tools: [{ type: 'function', function: { name, description, parameters, parse: JSON.parse, function: (a) => { asked.push(a); return found; } } }],
  });
  assert.equal(await runner.finalContent(), told);
  assert.deepEqual(asked, [path]);
});

test('responses, a tool call and its result', async () => {
  const tools = [{ type: 'function', name, description, parameters, strict: false }];
  const first = await openai.responses.stream({ ...ask, input: errand, tools }).finalResponse();
  const call = first.output.find((item) => item.type === 'function_call');
  assert.deepEqual([call?.name, JSON.parse(call?.arguments ?? '{}')], [name, path]);
  const second = await openai.responses.create({
    ...ask, previous_response_id: first.id, tools, input: [{ type: 'function_call_output', call_id: call.call_id, output: found }],
  });
  assert.equal(second.output_text, told);
  assert.ok(second.usage.input_tokens_details.cached_tokens > 0, 'only the result was new');
});

test('messages, streamed, a tool call and its result', async () => {
  const base = { ...ask, max_tokens: 500, tools: [{ name, description, input_schema: parameters }] };
  const stream = anthropic.messages.stream({ ...base, messages: user(errand) });
  let thinking = '';
  stream.on('thinking', (delta) => { thinking += delta; });
  const m = await stream.finalMessage();
  const call = m.content.at(-1);
  assert.equal(m.stop_reason, 'tool_use');
  assert.match(thinking, /read_file/);
  assert.deepEqual([call.name, call.input], [name, path]);
  const messages = [...user(errand), { role: 'assistant', content: m.content }, ...user([{ type: 'tool_result', tool_use_id: call.id, content: found }])];
  assert.equal(await anthropic.messages.stream({ ...base, messages }).finalText(), told);
});
