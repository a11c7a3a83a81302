// For the tests of lpr-agent: a second port on which faults are switched on and commands are sent. Not to be copied.
//
//   POST /fault    {kind, count?, types?, match?, minBytes?, ...}  or null: how the next events are treated
//   POST /settings {token?, hello?, joinDelayMs?, maxPayload?, maxHttpBufferSize?}   the last two are for connections from
//                   then on; the first of them is a limit that the server does not tell
//   POST /command  {name, args?, timeoutMs?}            emitted to the newest agent with a callback; its answer
//   POST /kick, /close, /forget, /reset
//   GET  /state    {stored, agents, joined, hellos, received}
import { createServer } from "node:http";

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Each returns true where it has dealt with the event; `store` keeps it, `ack` answers. `terminate` does neither.
const FAULTS = {
  silent: () => true,
  slow: async (fault) => (await wait(fault.ms), false),
  retry: (fault, { ack, message: { eventId } }) => (ack({ status: "retry", eventId, retryAfterMs: fault.afterMs }), true),
  reject: (fault, { ack, message: { eventId } }) => (ack({ status: "rejected", eventId, code: "BAD", message: "no" }), true),
  kick: async (fault, { socket, store }) => (await store(), socket.disconnect(), true),
  close: async (fault, { socket, store }) => (await store(), socket.conn.close(), true),
  terminate: (fault, { socket }) => (socket.conn.transport.socket.terminate(), true),
  wrongEvent: (fault, { ack }) => (ack({ status: "ok", eventId: "another-event" }), true),
  answer: (fault, { ack }) => (ack(...fault.args), true), // not stored
  storeAndAnswer: async (fault, { ack, store }) => (await store(), ack(...fault.args), true),
  loseAck: async (fault, { store }) => Math.random() < fault.share && (await store(), true),
  junk: (fault, { socket }) => (socket.conn.transport.socket.send((fault.text ?? "42/ai,{not json").replace("#", "x".repeat(fault.fill ?? 1))), true),
};

export function control({ ai, store, settings, newestAgent }) {
  let fault = null;
  let joinDelayMs = 0;
  const received = [];
  const joined = [];
  const hellos = [];
  const atStart = { ...settings };
  const maxPayload = (bytes) => (ai.server.engine.ws.options.maxPayload = bytes);

  const routes = {
    "/fault": (body) => ((fault = body), {}),
    "/settings": (body) => {
      if ("joinDelayMs" in body) joinDelayMs = body.joinDelayMs;
      if ("maxPayload" in body) maxPayload(body.maxPayload);
      if ("maxHttpBufferSize" in body) maxPayload((ai.server.engine.opts.maxHttpBufferSize = body.maxHttpBufferSize));
      for (const name of ["token", "hello"]) if (name in body) settings[name] = body[name];
      return {};
    },
    "/command": async ({ name, args = [], timeoutMs = 5000 }) => {
      const agent = newestAgent();
      if (!agent) return { error: "no agent is connected" };
      try {
        return { reply: await agent.timeout(timeoutMs).emitWithAck(name, ...args) };
      } catch (error) {
        return { error: error.message };
      }
    },
    "/kick": () => (ai.disconnectSockets(), {}),
    "/close": () => (ai.disconnectSockets(true), {}),
    "/forget": () => (store.forget(), {}),
    "/reset": async () => {
      ai.disconnectSockets(true);
      await store.clear();
      fault = null;
      joinDelayMs = joined.length = hellos.length = received.length = 0;
      Object.assign(settings, atStart);
      maxPayload((ai.server.engine.opts.maxHttpBufferSize = 1e6));
      return {};
    },
    "/state": () => ({
      stored: store.size,
      agents: [...ai.sockets.values()].map((socket) => socket.handshake.auth),
      joined,
      hellos,
      received,
    }),
  };

  const http = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const answer = await routes[request.url](text ? JSON.parse(text) : null);
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  });

  return {
    beforeJoin: (socket) => (joined.push(socket.handshake.auth), wait(joinDelayMs)),
    greeted: (hello) => hellos.push(hello),
    listen: (port) => new Promise((resolve) => http.listen(port, "127.0.0.1", () => resolve(http.address().port))),
    intercept: async (socket, name, message, ack) => {
      received.push({ name, eventId: message?.eventId, delivery: message?.delivery, at: Date.now() });
      if (!fault || (fault.types && !fault.types.includes(name))) return false;
      if (fault.minBytes && JSON.stringify(message).length < fault.minBytes) return false;
      if (fault.match && !JSON.stringify(message).includes(fault.match)) return false;
      const current = fault;
      if (current.count !== undefined && (current.count -= 1) < 0) return false;
      const agentId = socket.handshake.auth.agentId;
      const keep = () => store.add({ agentId, type: name, ...message });
      return FAULTS[current.kind](current, { socket, message, ack, store: keep });
    },
  };
}
