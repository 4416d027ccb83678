// The admin API, with the token where one is asked for, and its events as they come.

const RETRY_MS = 2000;
let token = sessionStorage.getItem("hopscope-token") ?? "";

export class NoToken extends Error {}

export function useToken(value) {
  token = value;
  sessionStorage.setItem("hopscope-token", value);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) throw new NoToken();
  if (!answer.ok) throw new Error((await answer.text()).trim() || `status ${answer.status}`);
  return answer;
}

export const get = async (path) => (await ask(path, { headers: { Accept: "application/json" } })).json();

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/**
 * Read server-sent events for ever. EventSource can't send a token, so fetch reads the stream.
 *
 * `onOpen` is called each time the stream begins: what happened before it must be asked for.
 */
export async function follow(onOpen, onEvent, onLost) {
  for (;;) {
    try {
      const answer = await ask("/api/events");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      onOpen();
      for await (const [event, data] of events(reader)) onEvent(event, data);
      onLost();
    } catch (error) {
      onLost(error);
      if (error instanceof NoToken) return;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function* events(reader) {
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
