import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { gauge, key, narrow, scripted, until } from './setup.mjs';

const model = 'deepseek-v4-flash';
const client = (url, apiKey = key) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const c = client(scripted);
const base = { model, max_tokens: 1000 };
const user = (content) => [{ role: 'user', content }];
const tools = [{ name: 'get_weather', description: 'Weather of a city.', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];

test('messages', async () => {
  const m = await c.messages.create({ ...base, messages: user('Hello?') });
  assert.deepEqual(m.content.map((block) => block.type), ['thinking', 'text']);
  assert.equal(m.content[0].thinking, 'Hmm.');
  assert.equal(m.content[1].text, 'Hello world');
  assert.equal(m.stop_reason, 'end_turn');
  assert.ok(m.usage.output_tokens > 0);
});

test('messages without thinking', async () => {
  const m = await c.messages.create({ ...base, messages: user('Hello?'), thinking: { type: 'disabled' } });
  assert.deepEqual(m.content.map((block) => block.type), ['text']);
});

test('messages, cut short', async () => {
  const m = await c.messages.create({ ...base, max_tokens: 2, messages: user('Hello?') });
  assert.equal(m.stop_reason, 'max_tokens');
  assert.equal(m.usage.output_tokens, 2);
});

test('messages, streamed event by event', async () => {
  const stream = await c.messages.create({ ...base, messages: user('Hello?'), stream: true });
  const kinds = [], text = { thinking_delta: '', text_delta: '', signature_delta: '' };
  for await (const e of stream) {
    if (e.type === 'ping') continue;
    if (kinds.at(-1) !== e.type) kinds.push(e.type);
    if (e.type === 'content_block_delta') text[e.delta.type] += e.delta.thinking ?? e.delta.text ?? '';
  }
  const block = ['content_block_start', 'content_block_delta', 'content_block_stop'];
  assert.deepEqual(kinds, ['message_start', ...block, ...block, 'message_delta', 'message_stop']);
  assert.deepEqual([text.thinking_delta, text.text_delta], ['Hmm.', 'Hello world']);
});

test('messages, a tool call streamed and its result', async () => {
  const messages = user('Weather in Paris?');
  const stream = c.messages.stream({ ...base, messages, tools });
  let pieces = 0, thinking = '';
  stream.on('inputJson', () => pieces++);
  stream.on('thinking', (delta) => { thinking += delta; });
  const m = await stream.finalMessage();
  assert.deepEqual(m.content.map((block) => block.type), ['thinking', 'text', 'tool_use']);
  assert.equal(thinking, 'I need it.');
  assert.deepEqual(m.content[2].input, { city: 'Paris' });
  assert.equal(m.stop_reason, 'tool_use');
  assert.ok(pieces > 1, `arguments come as they form, got ${pieces} pieces`);

  messages.push({ role: 'assistant', content: m.content });
  messages.push(...user([{ type: 'tool_result', tool_use_id: m.content[2].id, content: 'sunny' }]));
  const answer = await c.messages.create({ ...base, messages, tools });
  assert.equal(answer.content.at(-1).text, 'Hello world');
  assert.ok(answer.usage.cache_read_input_tokens >= m.usage.input_tokens, 'only the new message is evaluated');
});

test('count_tokens', async () => {
  const short = await c.messages.countTokens({ model, messages: user('Hello?') });
  const long = await c.messages.countTokens({ model, messages: user('Hello?'), tools });
  const m = await c.messages.create({ ...base, messages: user('Hello?'), tools: [] });
  assert.ok(long.input_tokens > short.input_tokens);
  const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens } = m.usage;
  assert.equal(short.input_tokens, input_tokens + cache_read_input_tokens + cache_creation_input_tokens);
});

test('errors have the classes of the client', async () => {
  await assert.rejects(client(scripted, 'wrong-key').messages.create({ ...base, messages: user('Hello?') }), Anthropic.AuthenticationError);
  await assert.rejects(c.messages.create({ ...base, messages: user([{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }]) }), (e) => {
    assert.ok(e instanceof Anthropic.BadRequestError);
    assert.equal(e.error.error.type, 'invalid_request_error');
    assert.match(e.message, /messages\[0\]\.content\[0\]\.type/);
    assert.ok(e.requestID);
    return true;
  });
});

test('too many at once, and leaving in the middle', { timeout: 60_000 }, async () => {
  const slow = client(narrow);
  const count = { model, max_tokens: 20000, messages: user('Count') }; // long enough to be left
  const first = slow.messages.stream(count);
  const gone = assert.rejects(first.done(), Anthropic.APIUserAbortError);
  await new Promise((started) => first.once('thinking', started));
  const waiting = slow.messages.stream(count);
  const left = assert.rejects(waiting.done(), Anthropic.APIUserAbortError);
  await until(async () => await gauge(narrow, 'queue_length') === 1);
  await assert.rejects(slow.messages.create(count), Anthropic.RateLimitError);
  waiting.abort();
  first.abort();
  await Promise.all([gone, left]);
  await until(async () => await gauge(narrow, 'requests_running') === 0 && await gauge(narrow, 'queue_length') === 0);
});
