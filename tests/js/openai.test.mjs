import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { gauge, key, narrow, scripted, until } from './setup.mjs';

const model = 'deepseek-v4-flash';
const client = (url, apiKey = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const c = client(scripted);
const user = (content) => [{ role: 'user', content }];
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Weather of a city.', parameters } }];

test('models', async () => {
  const ids = [];
  for await (const m of c.models.list()) ids.push(m.id);
  assert.deepEqual(ids.sort(), ['deepseek-chat', 'deepseek-reasoner', model]);
  assert.equal((await c.models.retrieve(model)).id, model);
  await assert.rejects(c.models.retrieve('none'), OpenAI.NotFoundError);
});

test('chat', async () => {
  const r = await c.chat.completions.create({ model, messages: user('Hello?') });
  const { message, finish_reason } = r.choices[0];
  assert.equal(message.content, 'Hello world');
  assert.equal(message.reasoning_content, 'Hmm.');
  assert.equal(finish_reason, 'stop');
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
  assert.ok(r.usage.completion_tokens_details.reasoning_tokens > 0);
  const long = user('Hello? '.repeat(40));
  const one = await c.chat.completions.create({ model, messages: long });
  const two = await c.chat.completions.create({ model, messages: [...long, one.choices[0].message, ...user('And?')] });
  assert.ok(two.usage.prompt_tokens_details.cached_tokens > 0, 'what was said is known');
});

test('chat without thinking', async () => {
  const { data, response } = await c.chat.completions.create({ model: 'deepseek-chat', messages: user('Hello?') }).withResponse();
  assert.equal(data.choices[0].message.content, 'Hello world');
  assert.equal(data.choices[0].message.reasoning_content, undefined);
  assert.equal(data.usage.completion_tokens_details.reasoning_tokens, 0);
  assert.equal(response.headers.get('x-ds4-thinking'), 'none');
});

test('chat, streamed piece by piece', async () => {
  const stream = await c.chat.completions.create({ model, messages: user('Hello?'), stream: true, stream_options: { include_usage: true } });
  let text = '', reasoning = '', usage, finish;
  for await (const { choices, usage: u } of stream) {
    if (u) usage = u;
    if (!choices.length) continue;
    const { delta, finish_reason } = choices[0];
    assert.ok(!(delta.content && delta.reasoning_content), 'a piece is reasoning or text');
    assert.ok(!(delta.reasoning_content && text), 'reasoning comes first');
    text += delta.content ?? '';
    reasoning += delta.reasoning_content ?? '';
    finish ??= finish_reason;
  }
  assert.deepEqual([reasoning, text, finish], ['Hmm.', 'Hello world', 'stop']);
  assert.ok(usage.completion_tokens > 0 && usage.completion_tokens_details.reasoning_tokens > 0);
});

test('chat, a tool call streamed and its result', async () => {
  const messages = user('Weather in Paris?');
  const stream = c.chat.completions.stream({ model, messages, tools, stream_options: { include_usage: true } });
  let deltas = 0, args = '';
  stream.on('tool_calls.function.arguments.delta', (e) => { deltas++; args += e.arguments_delta; });
  const message = await stream.finalMessage();
  assert.equal(message.content, 'One moment.');
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].function.name, 'get_weather');
  assert.deepEqual(JSON.parse(args), { city: 'Paris' });
  assert.ok(deltas > 1, `arguments come as they form, got ${deltas} pieces`);
  assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, 'tool_calls');
  messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'sunny' });
  const r = await c.chat.completions.create({ model, messages, tools });
  assert.equal(r.choices[0].message.content, 'Hello world');
});

test("chat, the client's own tool loop", async () => {
  const asked = [];
  const runner = c.chat.completions.runTools({
    model, messages: user('Weather in Paris?'), stream: true,
    tools: [{ type: 'function', function: { ...tools[0].function, parse: JSON.parse, function: (a) => { asked.push(a); return 'sunny'; } } }],
  });
  assert.equal(await runner.finalContent(), 'Hello world');
  assert.deepEqual(asked, [{ city: 'Paris' }]);
});

test('completions', async () => {
  const r = await c.completions.create({ model, prompt: 'Once', max_tokens: 3 });
  assert.equal(r.choices[0].finish_reason, 'length');
  assert.equal(r.usage.completion_tokens, 3);
});

test('responses, streamed', async () => {
  const tools = [{ type: 'function', name: 'get_weather', parameters, strict: false }];
  const stream = await c.responses.create({
    model, input: 'Weather in Paris?', stream: true, reasoning: { summary: 'auto' }, tools,
  });
  let next = 0, text = '', args = '', summary = '', response;
  const open = new Set();
  for await (const e of stream) {
    assert.equal(e.sequence_number, next++, 'events are numbered without gaps');
    switch (e.type) {
      case 'response.output_item.added': open.add(e.output_index); break;
      case 'response.output_item.done': assert.ok(open.delete(e.output_index)); break;
      case 'response.output_text.delta': text += e.delta; break;
      case 'response.reasoning_summary_text.delta': summary += e.delta; break;
      case 'response.function_call_arguments.delta': args += e.delta; break;
      case 'response.completed': response = e.response;
    }
  }
  assert.equal(open.size, 0, 'what was added is done');
  assert.deepEqual([summary, text, args], ['I need it.', 'One moment.', '{"city":"Paris"}']);
  assert.deepEqual(response.output.map((item) => item.type), ['reasoning', 'message', 'function_call']);
  assert.ok(response.usage.output_tokens_details.reasoning_tokens > 0);

  const answer = await c.responses.create({
    model, previous_response_id: response.id, tools,
    input: [{ type: 'function_call_output', call_id: response.output[2].call_id, output: 'sunny' }],
  });
  assert.equal(answer.output_text, 'Hello world');
  assert.equal(answer.previous_response_id, response.id);
  assert.ok(answer.usage.input_tokens > response.usage.input_tokens, 'what came before is part of the prompt');
  assert.equal((await c.responses.retrieve(answer.id)).output_text, 'Hello world');
  await c.responses.delete(answer.id);
  await assert.rejects(c.responses.retrieve(answer.id), OpenAI.NotFoundError);
});

test("responses, with the client's helper", async () => {
  const stream = c.responses.stream({ model, input: 'Hello?' });
  const r = await stream.finalResponse();
  assert.equal(r.output_text, 'Hello world');
  assert.equal(r.status, 'completed');
});

test('errors have the classes of the client', async () => {
  await assert.rejects(client(scripted, 'wrong-key').models.list(), OpenAI.AuthenticationError);
  await assert.rejects(c.chat.completions.create({ model, messages: user('Hello?'), temperature: -1 }), (e) => {
    assert.ok(e instanceof OpenAI.BadRequestError);
    assert.match(e.message, /temperature: want/);
    assert.ok(e.requestID);
    return true;
  });
  await assert.rejects(c.chat.completions.create({ model, messages: [{ role: 'user', content: 'x '.repeat(40000) }] }),
    (e) => e instanceof OpenAI.BadRequestError && e.code === 'context_length_exceeded');
  await assert.rejects(c.responses.create({ model, input: 'Hello?', previous_response_id: 'resp_0' }), OpenAI.BadRequestError);
});

test('too many at once, and leaving in the middle', { timeout: 60_000 }, async () => {
  const slow = client(narrow);
  const ask = () => slow.chat.completions.create({ model, messages: user('Count'), stream: true });
  const first = await ask();
  const pieces = first[Symbol.asyncIterator]();
  await pieces.next(); // it runs
  const leave = new AbortController();
  const second = slow.chat.completions.create({ model, messages: user('Count') }, { signal: leave.signal });
  const gone = assert.rejects(second, OpenAI.APIUserAbortError);
  await until(async () => await gauge(narrow, 'queue_length') === 1);
  await assert.rejects(ask(), (e) => {
    assert.ok(e instanceof OpenAI.RateLimitError);
    assert.ok(Number(e.headers.get('retry-after')) > 0);
    return true;
  });
  leave.abort();
  await gone;
  await until(async () => await gauge(narrow, 'queue_length') === 0);
  assert.equal(await gauge(narrow, 'requests_running'), 1, 'the first goes on');
  first.controller.abort();
  await until(async () => await gauge(narrow, 'requests_running') === 0);
  const answer = await slow.chat.completions.create({ model, messages: user('Hello?') });
  assert.equal(answer.choices[0].message.content, 'Hello world');
});
