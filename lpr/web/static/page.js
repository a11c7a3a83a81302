// The page asks the agent once a second while somebody looks, and draws what it is told.
// Names come from configurations and plates from the street: they are only ever set as text, never as markup.

const LANGUAGES = { en: "English", vi: "Tiếng Việt" };
const language = chosenLanguage();
const { labels, locale } = await import(`/static/labels.${language}.js`);

const POLL_MS = 1000;
const ANSWER_WITHIN_MS = 5000;
const RETRY_PICTURE_MS = 4000;
const MAX_PROBLEMS = 3;
const STALE_AFTER_S = 10;
const MILD = new Set(["dead_letters", "warning", "camera_limps"]);

const find = (id) => document.getElementById(id);
const time = (moment) => {
  const date = new Date(moment);
  const clock = date.toLocaleTimeString(locale, { hour12: false });
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock : `${date.toLocaleDateString(locale, { day: "numeric", month: "short" })} ${clock}`;
};
const number = (value, digits) => value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const size = (bytes) => {
  if (bytes < 1e6) return `${number(Math.ceil(bytes / 1e3), 0)} kB`;
  return bytes < 1e9 ? `${number(bytes / 1e6, 1)} MB` : `${number(bytes / 1e9, 2)} GB`;
};

// What was chosen in the foot of the page, else the first of the browser's own languages that is spoken here.
function chosenLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  try {
    if (asked in LANGUAGES) localStorage.setItem("language", asked);
    const kept = localStorage.getItem("language");
    if (kept in LANGUAGES) return kept;
  } catch {
    // A browser that keeps nothing is asked for its languages each time.
  }
  return [asked, ...navigator.languages].map((each) => String(each).slice(0, 2)).find((each) => each in LANGUAGES) ?? "en";
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

// Written only where it differs, so that screen readers and selections are left in peace.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function empty(title, hint) {
  const box = make("div", "empty");
  box.append(make("b", "", title), document.createTextNode(hint));
  return box;
}

// Head

function fact(id, name, tone, words, more) {
  const box = find(id);
  box.className = tone;
  say(box.querySelector("dt"), name);
  say(box.querySelector("b"), words);
  say(box.querySelector("span"), more);
}

function drawHead(status) {
  say(find("agent-id"), status.agentId);
  document.title = status.problems.length ? `(${status.problems.length}) ${status.agentId}` : status.agentId;
  const tones = { processing: "good", idle: "", error: "bad" };
  fact("fact-agent", labels.agent, tones[status.state], labels.agentStates[status.state], labels.upFor(status.uptimeSeconds));
  const since = status.link.since ? labels.since(time(status.link.since)) : "";
  fact("fact-link", labels.backend, status.link.up ? "good" : "bad", status.link.up ? labels.linkUp : labels.linkDown, since);
  const { pending, bytes, oldestAgeSeconds } = status.queue;
  if (!pending) fact("fact-queue", labels.queue, "good", labels.queueEmpty, "");
  else {
    const late = oldestAgeSeconds > 60 || !status.link.up;
    fact("fact-queue", labels.queue, late ? "warn" : "good", labels.queueWaiting(number(pending, 0), pending, size(bytes)), labels.queueOldest(oldestAgeSeconds));
  }
}

let spokenProblems = "";

// Sentences that count down change every second: they are written into the lines that stand, and read aloud only when
// a problem comes or goes.
function drawProblems(problems) {
  const box = find("problems");
  box.hidden = problems.length === 0;
  box.classList.toggle("mild", problems.every((problem) => MILD.has(problem.code)));
  while (box.querySelectorAll("p").length > problems.length) [...box.querySelectorAll("p")].at(-1).remove();
  let rest = box.querySelector("details");
  problems.forEach((problem, place) => {
    let line = box.querySelectorAll("p")[place];
    if (!line) {
      line = make("p");
      line.append(icon("alert"), make("span"));
      if (place >= MAX_PROBLEMS && !rest) {
        rest = make("details");
        rest.append(make("summary"));
        box.append(rest);
      }
      if (place < MAX_PROBLEMS) box.insertBefore(line, rest);
      else rest.append(line);
    }
    say(line.lastChild, problem.message);
  });
  if (rest && problems.length <= MAX_PROBLEMS) rest.remove();
  else if (rest) say(rest.firstChild, labels.moreProblems(problems.length - MAX_PROBLEMS));
  const key = problems.map((problem) => `${problem.code} ${problem.subject}`).join("\n");
  if (key !== spokenProblems) say(find("spoken"), problems.map((problem) => problem.message).join(" "));
  spokenProblems = key;
}

// Cameras

const cameras = new Map();

// What tells one picture of a camera from the next; a recording that has ended may still have its last one.
function pictureTime(camera) {
  return camera.lastFrameAt ?? (camera.state === "ended" ? "end" : null);
}

function ratesOf({ analysedFps, decodedFps }) {
  return decodedFps > analysedFps ? labels.someOf(number(analysedFps, 1), number(decodedFps, 1)) : labels.rate(number(analysedFps, 1));
}

class Camera {
  constructor(id) {
    this.id = id;
    this.shownAt = null;
    this.loading = false;
    this.visible = true;
    this.retryAt = 0;
    this.figure = make("figure");
    this.shot = make("button", "shot");
    this.shot.type = "button";
    this.shot.setAttribute("aria-pressed", "false");
    this.shot.addEventListener("click", () => {
      this.shot.setAttribute("aria-pressed", String(this.figure.classList.toggle("wide")));
      this.shownAt = null;
      this.loadPicture();
    });
    this.state = make("span", "state");
    this.state.append(make("i", "dot"), make("span"));
    this.message = make("em");
    this.shot.append(this.message);
    // Everything but trouble stands below the picture: cameras write their own clock into its corners.
    const caption = make("figcaption");
    this.name = make("b");
    this.gate = make("span", "gate");
    this.numbers = make("span", "numbers");
    const head = make("div");
    const foot = make("div");
    head.append(this.name, this.state);
    foot.append(this.gate, this.numbers);
    this.trouble = make("p", "limp");
    caption.append(head, foot, this.trouble);
    this.figure.append(this.shot, caption);
    watcher?.observe(this.figure);
  }

  draw(camera) {
    this.camera = camera;
    const frozen = camera.state === "running" && (camera.frameAgeSeconds ?? 0) > STALE_AFTER_S;
    const state = frozen ? "stale" : camera.state;
    for (const each of Object.keys(labels.cameraStates)) this.figure.classList.toggle(each, each === state);
    this.figure.classList.toggle("off", state !== "running");
    say(this.state.lastChild, labels.cameraStates[state]);
    say(this.name, camera.name);
    say(this.gate, camera.gateName);
    const rates = state === "running" ? ratesOf(camera) : "";
    say(this.numbers, [labels.passagesOf(camera.passages), rates].filter(Boolean).join(", "));
    this.shot.setAttribute("aria-label", labels.enlarge(camera.name, labels.cameraStates[state]));
    const trouble = state === "running" ? camera.blind || camera.limp : "";
    say(this.trouble, trouble);
    this.trouble.hidden = !trouble;
    this.trouble.classList.toggle("blind", camera.blind !== "");
    this.drawMessage(state, camera);
    this.loadPicture();
  }

  drawMessage(state, camera) {
    const has = this.image !== undefined || camera.lastFrameAt !== null;
    const quiet = has && (state === "running" || state === "ended");
    const last = camera.lastFrameAt ? labels.lastPicture(time(camera.lastFrameAt)) : labels.cameraStates[state];
    const words = quiet ? "" : has ? last : labels.cameraEmpty[state] ?? "";
    const more = quiet || !camera.detail ? [] : [camera.detail];
    const key = [words, ...more].join("\n");
    if (key === this.messageKey) return;
    this.messageKey = key;
    this.message.replaceChildren(...(words ? [make("b", "", words)] : []), ...more.map((text) => make("span", "", text)));
  }

  // A new picture takes the old one's place only when it is whole: nothing flickers, and a slow line is never flooded.
  loadPicture() {
    const at = pictureTime(this.camera);
    if (!at || at === this.shownAt || this.loading || !this.visible || Date.now() < this.retryAt) return;
    this.loading = true;
    const width = Math.ceil(this.shot.clientWidth * Math.min(2, window.devicePixelRatio || 1));
    const image = new Image();
    image.alt = "";
    image.addEventListener("load", () => {
      this.loading = false;
      this.shownAt = at;
      this.image?.remove();
      this.image = image;
      this.shot.prepend(image);
      this.draw(this.camera);
    });
    image.addEventListener("error", () => {
      this.loading = false;
      this.retryAt = Date.now() + RETRY_PICTURE_MS;
    });
    image.src = `/cameras/${encodeURIComponent(this.id)}.jpg?width=${width}&at=${encodeURIComponent(at)}`;
  }

  remove() {
    watcher?.unobserve(this.figure);
    this.figure.remove();
  }
}

const watcher = "IntersectionObserver" in window
  ? new IntersectionObserver((entries) => {
    for (const entry of entries) {
      for (const camera of cameras.values()) {
        if (camera.figure === entry.target) camera.visible = entry.isIntersecting;
      }
    }
  })
  : null;

function drawCameras(list) {
  const box = find("cameras");
  const running = list.filter((camera) => camera.state === "running").length;
  find("cameras-title").replaceChildren(labels.cameras, make("b", "", list.length ? `${running} / ${list.length}` : ""));
  box.dataset.many = ["few", "few", "pair", "several", "several"][list.length] ?? "lots";
  document.body.classList.toggle("one-gate", new Set(list.map((camera) => camera.gateName)).size < 2);
  const ids = new Set(list.map((camera) => camera.id));
  for (const [id, camera] of cameras) {
    if (!ids.has(id)) {
      camera.remove();
      cameras.delete(id);
    }
  }
  if (!list.length) {
    if (!box.querySelector(".empty")) box.replaceChildren(empty(labels.noCameras, labels.noCamerasHint));
    return;
  }
  box.querySelector(".empty")?.remove();
  list.forEach((camera, place) => {
    if (!cameras.has(camera.id)) cameras.set(camera.id, new Camera(camera.id));
    const card = cameras.get(camera.id);
    if (box.children[place] !== card.figure) box.insertBefore(card.figure, box.children[place] ?? null);
    card.draw(camera);
  });
}

// What belongs to the scene. The button is a form of the browser's own: it is sent, and the page is asked for anew.

let standingKey = "";

function makeStanding(each) {
  const item = make("li");
  const place = `/cameras/${encodeURIComponent(each.cameraId)}/standing`;
  const shot = make("div", "place");
  const image = new Image();
  image.alt = "";
  image.addEventListener("error", () => shot.replaceChildren(labels.noCrop));
  image.src = `${place}.jpg?text=${encodeURIComponent(each.text)}`;
  shot.append(image);
  const words = make("div");
  words.append(make("div", "plate", each.display), make("div", "where", `${each.cameraName}, ${labels.standingSince(time(each.since))}`));
  const form = make("form");
  form.method = "post";
  form.action = `${place}/forget`;
  const text = make("input");
  text.type = "hidden";
  text.name = "text";
  text.value = each.text;
  const button = make("button", "plain", labels.forget);
  button.title = labels.forgetHint(each.display);
  form.append(text, button);
  words.append(form);
  item.append(shot, words);
  return item;
}

function drawStanding(list) {
  const key = list.map((each) => `${each.cameraId} ${each.text}`).join("\n");
  if (key === standingKey) return;
  standingKey = key;
  const box = find("standing");
  box.hidden = list.length === 0;
  box.querySelector("h2").replaceChildren(labels.standing, make("b", "", String(list.length)));
  say(box.querySelector(".hint"), labels.standingHint);
  box.querySelector("ul").replaceChildren(...list.map(makeStanding));
}

// Vehicles

const rows = new Map();
let firstDrawing = true;

function makeRow(passage) {
  const row = make("li", firstDrawing ? "" : "fresh");
  const crop = make("div", "crop");
  const image = new Image();
  image.alt = "";
  image.addEventListener("error", () => crop.replaceChildren(labels.noCrop));
  image.src = `/passages/${encodeURIComponent(passage.id)}.jpg`;
  crop.append(image);
  const readable = passage.outcome === "read";
  row.classList.toggle("unreadable", !readable);
  const what = make("div");
  what.append(make("div", "plate", readable ? passage.plate : labels.unreadable));
  const where = make("div", "where");
  const direction = make("span");
  direction.append(icon(passage.action), labels.actions[passage.action] ?? passage.action);
  where.append(make("span", "", time(passage.at)), direction, make("span", "free", passage.gateName));
  if (!readable) where.append(make("div", "", labels.bestGuess(passage.plate)));
  const more = [labels.vehicles[passage.vehicleType], passage.province].filter(Boolean).join(", ");
  if (more) row.title = more;
  what.append(where);
  const fate = make("div", "fate");
  row.append(crop, what, fate);
  return { row, fate, delivery: "" };
}

function drawFate(shown, passage) {
  if (shown.delivery === passage.delivery) return;
  shown.delivery = passage.delivery;
  const line = make("p", passage.delivery);
  line.append(icon(passage.delivery), labels.delivery[passage.delivery]);
  line.title = labels.deliveryHints[passage.delivery];
  const confidence = make("p");
  confidence.append(make("span", "", `${Math.floor(passage.confidence * 100)} %`));
  shown.fate.replaceChildren(line, confidence);
}

function drawPassages(list) {
  const box = find("passages");
  find("passages-title").replaceChildren(labels.passages);
  const hint = box.parentElement.querySelector(".empty");
  if (!list.length && !hint) box.after(empty(labels.noPassages, labels.noPassagesHint));
  if (list.length) hint?.remove();
  const ids = new Set(list.map((passage) => passage.id));
  for (const [id, shown] of rows) {
    if (!ids.has(id)) {
      shown.row.remove();
      rows.delete(id);
    }
  }
  list.forEach((passage, place) => {
    if (!rows.has(passage.id)) rows.set(passage.id, makeRow(passage));
    const shown = rows.get(passage.id);
    if (box.children[place] !== shown.row) box.insertBefore(shown.row, box.children[place] ?? null);
    drawFate(shown, passage);
  });
  firstDrawing = false;
}

// Foot

function drawMachine(status) {
  const { synchronised, offsetMs } = status.clock;
  const clock = [synchronised ? labels.clockGood : labels.clockBad, offsetMs === null ? "" : labels.clockOffset(offsetMs)];
  const times = Object.entries(status.stages).map(([stage, ms]) => `${labels.stages[stage] ?? stage} ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
  const entries = [
    [labels.device, status.device],
    [labels.processor, `${Math.round(status.cpuPercent)} %`],
    [labels.memory, `${Math.round(status.memoryPercent)} %`],
    [labels.clock, clock.filter(Boolean).join(", ")],
    [labels.times, times.join(", ")],
    [labels.version, status.version],
  ].filter(([, value]) => value);
  find("machine").replaceChildren(...entries.map(([name, value]) => {
    const entry = make("div");
    entry.append(make("dt", "", name), make("dd", "", value));
    return entry;
  }));
}

// Round and round

let lastContact = null;
let timer = null;
let version = null;

function draw(status) {
  // A page that stays open for months must not speak an older agent's language.
  if (version !== null && version !== status.version) location.reload();
  version = status.version;
  lastContact = new Date();
  document.body.classList.remove("stale");
  drawHead(status);
  drawProblems(status.problems.map((problem) => ({ ...problem, message: labels.problem(problem, status) ?? problem.message })));
  drawCameras(status.cameras);
  drawStanding(status.standing);
  drawPassages(status.passages);
  drawMachine(status);
}

async function ask() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    draw(await answer.json());
  } catch (error) {
    console.info("lpr-agent does not answer:", error);
    document.body.classList.add("stale");
    const message = lastContact ? labels.contactLost(time(lastContact)) : labels.contactNever;
    drawProblems([{ code: "contact", subject: "", message }]);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, POLL_MS);
}

document.documentElement.lang = language;
for (const [code, name] of Object.entries(LANGUAGES)) {
  const link = make("a", "", name);
  link.lang = code;
  link.href = `?lang=${code}`;
  if (code !== language) find("links").prepend(link);
}
say(find("to-health"), labels.health);
say(find("to-metrics"), labels.metrics);
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
