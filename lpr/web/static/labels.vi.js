// What the page says in Vietnamese; labels.en.js has the keys and what they are for.

const hourly = (seconds) => {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} giây`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} phút`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} giờ ${minutes % 60} phút`;
  return `${Math.floor(hours / 24)} ngày`;
};

export const locale = "vi-VN";

// Why something failed comes from the agent and stays English: whoever mends it looks for these words.
const because = (words) => (words ? `: ${words}` : "");

const problems = {
  no_pictures: () => "Không đọc được hình từ camera nào.",
  queue_unwritten: () => "Không ghi được sự kiện vào ổ đĩa.",
  camera_lost: (camera) => `Mất tín hiệu ${camera.name}${because(camera.detail)}.`,
  camera_stale: (camera) => `${camera.name} không có hình mới từ ${hourly(camera.frameAgeSeconds)} nay.`,
  camera_blind: (camera) => `${camera.name} có hình nhưng không đọc được${because(camera.blind)}.`,
  camera_limps: (camera) => `${camera.name} không lấy được luồng chính, đang dùng hình của luồng phụ (${camera.limp}).`,
  link_down: (_, status) => `Mất kết nối với máy chủ${because(status.link.words)}.`,
  dead_letters: (_, status) => `Máy chủ từ chối ${status.queue.deadLetters} sự kiện; xem bằng lệnh “lpr-agent queue list --dead”.`,
};

export const labels = {
  agentStates: { idle: "Đang chờ", processing: "Đang nhận dạng", error: "Lỗi" },
  cameraStates: {
    stopped: "Đã dừng",
    connecting: "Đang kết nối",
    running: "Trực tiếp",
    lost: "Mất tín hiệu",
    ended: "Đã hết",
    stale: "Hình đứng",
  },
  cameraEmpty: {
    stopped: "Camera này đã dừng",
    connecting: "Đang chờ hình đầu tiên",
    running: "Đang chờ hình đầu tiên",
    lost: "Không có hình",
    ended: "Đoạn video đã hết",
  },
  actions: { entry: "Vào", exit: "Ra" },
  vehicles: { car: "Ô tô", motorcycle: "Xe máy", unknown: "" },
  delivery: { waiting: "Chờ gửi", delivered: "Đã gửi", rejected: "Bị từ chối", dropped: "Không lưu" },
  deliveryHints: {
    waiting: "Đã lưu trên thiết bị này; máy chủ chưa xác nhận",
    delivered: "Máy chủ đã lưu",
    rejected: "Máy chủ từ chối hẳn; sự kiện nằm trong danh sách bị từ chối",
    dropped: "Không lưu lại được",
  },
  unreadable: "Không đọc được",
  bestGuess: (text) => (text ? `gần đúng nhất ${text}` : "không đoán được"),
  noCrop: "không có hình",

  agent: "Thiết bị",
  backend: "Máy chủ",
  queue: "Hàng đợi",
  linkUp: "Đã kết nối",
  linkDown: "Mất kết nối",
  since: (time) => `từ ${time}`,
  queueEmpty: "Không có gì chờ",
  queueWaiting: (written, _, size) => `${written} sự kiện chờ gửi, ${size}`,
  queueOldest: (seconds) => `lâu nhất ${hourly(seconds)}`,
  upFor: (seconds) => `đã chạy ${hourly(seconds)}`,

  cameras: "Camera",
  noCameras: "Chưa có camera nào được cấu hình",
  noCamerasHint: "Khai báo camera trong mục “cameras:” của tệp cấu hình rồi khởi động lại.",
  rate: (analysed) => `${analysed} hình/giây`,
  someOf: (analysed, decoded) => `${analysed} trên ${decoded} hình/giây`,
  passagesOf: (count) => `${count} lượt xe`,
  lastPicture: (time) => `Hình cuối lúc ${time}`,
  enlarge: (name, state) => `${name}, ${state}: phóng to`,

  standing: "Thuộc khung cảnh",
  standingHint: "Biển hiệu, áp phích và xe đỗ: chữ này đứng yên một chỗ lâu đến mức không còn được báo nữa.",
  standingSince: (time) => `ở đó từ ${time}`,
  forget: "Báo lại",
  forgetHint: (text) => `Báo lại ${text}: ngay lập tức nếu vẫn còn ở đó, và cho đến khi lại đứng yên lâu như vậy`,

  passages: "Lượt xe",
  noPassages: "Chưa có xe nào qua",
  noPassagesHint: "Biển số hiện ở đây ngay khi đọc được. Danh sách bắt đầu lại mỗi khi thiết bị khởi động.",

  contactLost: (time) => `Mất liên lạc với thiết bị từ ${time}. Những gì đang hiện là của lúc đó.`,
  contactNever: "Không liên lạc được với thiết bị.",
  moreProblems: (count) => `thêm ${count} mục`,
  problem: (problem, status) => {
    const camera = status.cameras.find((each) => each.id === problem.subject) ?? { name: problem.subject };
    return problems[problem.code]?.(camera, status) ?? null;
  },

  device: "Chạy trên",
  version: "Phiên bản",
  processor: "Bộ xử lý",
  memory: "Bộ nhớ",
  clock: "Đồng hồ",
  clockGood: "đã đồng bộ",
  clockBad: "chưa đồng bộ",
  clockOffset: (ms) => `lệch ${ms > 0 ? "+" : ""}${Math.round(ms)} ms so với máy chủ`,
  times: "Thời gian trung vị",
  stages: {
    decode: "giải mã",
    scale: "thu nhỏ",
    detect: "tìm biển số",
    rectify: "nắn thẳng",
    read: "đọc",
    track: "theo dõi",
    encode: "nén hình",
    commit: "ghi đĩa",
    send_to_ack: "gửi",
  },
  health: "Tình trạng",
  metrics: "Số đo",
};
