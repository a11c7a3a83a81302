// A back-end for lpr-agent, to copy from: socket.io 4, one namespace, a token, durable de-duplication, an
// acknowledgement after the write, and commands to the agent.
//
//   npm ci && node server.mjs --port 3001 --token secret --store data/events.jsonl [--images data/images]
//
// Type a command and its data to send it to the newest agent:   start_processing {"gateIds": ["GATE_001"]}
import { createServer } from "node:http";
import { mkdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Server } from "socket.io";
import { EventStore } from "./store.mjs";

const { values: options } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "3001" },
    namespace: { type: "string", default: "/ai" },
    token: { type: "string", default: "" },
    store: { type: "string", default: "data/events.jsonl" },
    images: { type: "string" },
    control: { type: "string" }, // tests only: a port on which faults are switched on, see control.mjs
  },
});

const EVENTS = ["license_plate_detected", "processing_status", "error"];
const store = await EventStore.open(options.store);
const http = createServer();
// The agent keeps its messages below maxMessageBytes, which must stay below maxHttpBufferSize: socket.io closes the
// connection without a word on anything larger.
const io = new Server(http, { maxHttpBufferSize: 1e6, serveClient: false });
const ai = io.of(options.namespace);
const settings = {
  token: options.token,
  hello: { maxMessageBytes: 900_000 }, // also: images: "base64" | "binary" | "none", replayPerSecond: 20
};
const control =
  options.control === undefined ? null : (await import("./control.mjs")).control({ ai, store, settings, newestAgent });

ai.use(async (socket, next) => {
  await control?.beforeJoin(socket);
  const { token, agentId } = socket.handshake.auth;
  if (settings.token && token !== settings.token) return next(new Error("invalid token"));
  if (!agentId) return next(new Error("auth.agentId is missing"));
  next();
});

ai.on("connection", (socket) => {
  const { agentId, version, epoch } = socket.handshake.auth;
  console.log(`agent ${agentId} ${version} connected, epoch ${epoch}`);
  socket.on("disconnect", (reason) => console.log(`agent ${agentId} gone: ${reason}`));

  socket.on("agent_hello", (hello, ack) => {
    control?.greeted(hello);
    if (settings.hello) ack?.({ serverTime: new Date().toISOString(), ...settings.hello });
  });

  for (const name of EVENTS) {
    socket.on(name, async (message, ack) => {
      if (await control?.intercept(socket, name, message, ack)) return;
      ack?.(await receive(agentId, name, message));
    });
  }
});

// Store an event for good, and only then say so. Whatever goes wrong, the agent keeps the event and sends it again.
async function receive(agentId, name, message) {
  const eventId = message?.eventId;
  if (typeof eventId !== "string") {
    return { status: "rejected", eventId, code: "NO_EVENT_ID", message: "eventId must be text" };
  }
  try {
    const receivedAt = new Date().toISOString();
    const isNew = await store.add(await withoutImages({ agentId, type: name, receivedAt, ...message }));
    // A barrier is opened here, and only for: isNew && !message.delivery.replayed && message.delivery.ageMs < 2000
    return { status: isNew ? "ok" : "duplicate", eventId };
  } catch (error) {
    console.error(error);
    return { status: "retry", eventId, retryAfterMs: 2000 };
  }
}

// Pictures go to files; the record keeps their names and sizes. They come as base64 text, or as Buffers where the agent
// has images: binary.
async function withoutImages(message) {
  const data = { ...(message.data ?? message) }; // backend.payload: data sends the data's fields flat
  const holder = message.type === "error" ? (data.details = { ...data.details }) : data;
  for (const field of ["processedImage", "originalImage"]) {
    if (!holder[field]?.length) continue;
    const bytes = Buffer.isBuffer(holder[field]) ? holder[field] : Buffer.from(holder[field], "base64");
    const file = options.images && join(options.images, `${message.eventId}-${field}.jpg`);
    if (file) await writeFile(file, bytes, { flush: true });
    holder[field] = { file, bytes: bytes.length };
  }
  return message.data ? { ...message, data } : data;
}

// Of two sockets of one agent the one with the higher epoch is alive; the other is dead, and nobody has noticed.
function newestAgent(agentId) {
  const sockets = [...ai.sockets.values()].filter((socket) => !agentId || socket.handshake.auth.agentId === agentId);
  return sockets.sort((a, b) => b.handshake.auth.epoch - a.handshake.auth.epoch)[0];
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [, name, json] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
  if (!name) return;
  try {
    const reply = await newestAgent()?.timeout(10_000).emitWithAck(name, json ? JSON.parse(json) : {});
    console.log(`${name}: ${JSON.stringify(reply ?? "no agent is connected")}`);
  } catch (error) {
    console.log(`${name}: ${error.message}`);
  }
});

if (options.images) mkdirSync(options.images, { recursive: true });
http.listen(Number(options.port), options.host, async () => {
  const controlPort = await control?.listen(Number(options.control));
  console.log(JSON.stringify({ ready: true, port: http.address().port, control: controlPort, stored: store.size }));
});
