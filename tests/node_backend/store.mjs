// An append-only file as a durable, de-duplicating store. A database with a unique index over (agentId, eventId) does
// the same: INSERT … ON CONFLICT DO NOTHING, commit, then acknowledge.
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";

export class EventStore {
  #known = new Map(); // "agentId eventId" -> promise of the write that made it durable
  #waiting = []; // lines that the next write takes with it: one fdatasync for many events
  #writing = false;

  static async open(path) {
    mkdirSync(dirname(path), { recursive: true });
    const store = new EventStore();
    store.#load(path);
    store.file = await open(path, "a");
    return store;
  }

  get size() {
    return this.#known.size;
  }

  // Resolves when the event is on disk: true where it is new, false where it was there already.
  async add(message) {
    const key = `${message.agentId} ${message.eventId}`;
    const known = this.#known.get(key);
    if (known) {
      await known; // it may be on its way to the disk: "duplicate" must not be said before it is there
      return false;
    }
    const line = JSON.stringify(message);
    const written = new Promise((resolve, reject) => this.#waiting.push({ line, resolve, reject }));
    this.#known.set(key, written);
    this.#write();
    try {
      await written;
    } catch (error) {
      this.#known.delete(key);
      throw error;
    }
    return true;
  }

  // For tests: a back-end that lost its memory; one that is as new.
  forget() {
    this.#known.clear();
  }

  async clear() {
    this.forget();
    await this.file.truncate();
  }

  async #write() {
    if (this.#writing) return;
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      try {
        await this.file.write(batch.map((entry) => entry.line + "\n").join(""));
        await this.file.datasync();
        for (const entry of batch) entry.resolve();
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    this.#writing = false;
  }

  // A process that was killed in the middle of a write leaves half a line: it was never acknowledged, so it is cut off.
  #load(path) {
    if (!existsSync(path)) return;
    const bytes = readFileSync(path);
    const whole = bytes.lastIndexOf(10) + 1;
    for (const line of bytes.subarray(0, whole).toString("utf8").split("\n")) {
      if (!line) continue;
      const { agentId, eventId } = JSON.parse(line);
      this.#known.set(`${agentId} ${eventId}`, Promise.resolve());
    }
    const file = openSync(path, "r+");
    ftruncateSync(file, whole);
    closeSync(file);
  }
}
