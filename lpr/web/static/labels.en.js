// Every word that the page says. A translation is a file of its own with the same keys, named in page.js.

const hourly = (seconds) => {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
};

export const locale = "en-GB";

export const labels = {
  agentStates: { idle: "Idle", processing: "Processing", error: "Error" },
  cameraStates: {
    stopped: "Stopped",
    connecting: "Connecting",
    running: "Live",
    lost: "Lost",
    ended: "Ended",
    stale: "Frozen",
  },
  cameraEmpty: {
    stopped: "This camera is stopped",
    connecting: "Waiting for the first picture",
    running: "Waiting for the first picture",
    lost: "No picture",
    ended: "The recording has ended",
  },
  actions: { entry: "In", exit: "Out" },
  vehicles: { car: "Car", motorcycle: "Motorbike", unknown: "" },
  delivery: { waiting: "Waiting", delivered: "Delivered", rejected: "Refused", dropped: "Not kept" },
  deliveryHints: {
    waiting: "Stored on this machine; not yet acknowledged by the back-end",
    delivered: "The back-end has stored it",
    rejected: "The back-end refused it for good; it lies among the dead letters",
    dropped: "It could not be kept",
  },
  unreadable: "Not readable",
  bestGuess: (text) => (text ? `best guess ${text}` : "no guess"),
  noCrop: "no picture",

  agent: "Agent",
  backend: "Back-end",
  queue: "Queue",
  linkUp: "Connected",
  linkDown: "Not connected",
  since: (time) => `since ${time}`,
  queueEmpty: "Nothing waits",
  queueWaiting: (written, count, size) => `${written} ${count === 1 ? "event waits" : "events wait"}, ${size}`,
  queueOldest: (seconds) => `oldest ${hourly(seconds)}`,
  upFor: (seconds) => `up ${hourly(seconds)}`,

  cameras: "Cameras",
  noCameras: "No camera is configured",
  noCamerasHint: "Name one under “cameras:” in the configuration, then start the agent again.",
  rate: (analysed) => `${analysed} fps`,
  someOf: (analysed, decoded) => `${analysed} of ${decoded} fps`,
  passagesOf: (count) => `${count} ${count === 1 ? "vehicle" : "vehicles"}`,
  lastPicture: (time) => `Last picture ${time}`,
  enlarge: (name, state) => `${name}, ${state}: enlarge`,

  standing: "Part of the scene",
  standingHint: "Signs, posters and parked vehicles: this text has stood in one place for so long that it is not reported any more.",
  standingSince: (time) => `there since ${time}`,
  forget: "Report it again",
  forgetHint: (text) => `Report ${text} again: at once if it is still there, and until it has stood there for as long again`,

  passages: "Vehicles",
  noPassages: "No vehicle has passed yet",
  noPassagesHint: "Plates appear here the moment they are read. The list begins anew with every start of the agent.",

  contactLost: (time) => `No contact with the agent since ${time}. What you see is from then.`,
  contactNever: "No contact with the agent.",
  moreProblems: (count) => `${count} more`,
  // The agent's own sentences are English; null means that they stand as they are.
  problem: () => null,

  device: "Runs on",
  version: "Version",
  processor: "Processor",
  memory: "Memory",
  clock: "Clock",
  clockGood: "synchronised",
  clockBad: "not synchronised",
  clockOffset: (ms) => `${ms > 0 ? "+" : ""}${Math.round(ms)} ms to the back-end`,
  times: "Median times",
  stages: {
    decode: "decode",
    scale: "scale",
    detect: "detect",
    rectify: "rectify",
    read: "read",
    track: "track",
    encode: "encode",
    commit: "commit",
    send_to_ack: "delivery",
  },
  health: "Health",
  metrics: "Metrics",
};
