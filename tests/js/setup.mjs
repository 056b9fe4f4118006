// What js_test.go says about the servers: each of them has the same key.
const env = (name) => {
  if (!process.env[name]) throw new Error(`${name} is not set: run "go tool task test:js"`);
  return process.env[name];
};

export const key = env('DS4_TEST_KEY');
export const scripted = env('DS4_TEST_SCRIPTED'); // answers as js_test.go has it
export const narrow = env('DS4_TEST_NARROW'); // the same for one client at a time, and slowly
export const demo = env('DS4_TEST_DEMO'); // "ds4 serve --demo"

// gauge is a number of the server's metrics.
export async function gauge(url, name) {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
  return Number(new RegExp(`^ds4_${name} (\\d+)$`, 'm').exec(await response.text())[1]);
}

// until waits for what must become true; the test's own deadline ends it.
export async function until(condition) {
  while (!(await condition())) await new Promise((done) => setTimeout(done, 10));
}
