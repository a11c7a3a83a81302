"""The configuration as frozen data: every key with what it means, what it may be, and what it is where not given.

The descriptions and examples here are the only ones: the commented sample, the JSON schema and the errors come from
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from lpr.config.addresses import BackendUrl, ConfigPath, SourceAddress
from lpr.config.quantities import Duration, Size
from lpr.config.section import (
    Device,
    Fraction,
    Fractions,
    MistakeBelowError,
    Number,
    SafeId,
    Section,
    Switch,
    Whole,
    check_points,
    lower_case,
)
from lpr.domain.address import SourceKind
from lpr.domain.choices import Decoder, EmitRule, ImageMode, Pace, PayloadShape, RtspTransport
from lpr.domain.errors import ConfigError
from lpr.domain.events import Weather
from lpr.domain.geometry import Point, crosses_itself, polygon_area
from lpr.domain.passage import Action, ActionRule
from lpr.domain.plate import REPORTED_FROM

MAX_CAMERAS = 32
MAX_ROI_POINTS = 64
LEAST_ROI = 0.0005
"""Of the frame's area."""


class AckRule(StrEnum):
    """Which answers count as stored."""

    LENIENT = "lenient"
    STRICT = "strict"


class DetectorInput(StrEnum):
    """How large the picture is that the detector sees."""

    AUTO = "auto"
    FAST = "fast"
    FAR = "far"


class Precision(StrEnum):
    """In what numbers the networks compute."""

    AUTO = "auto"
    BF16 = "bf16"
    F16 = "f16"
    F32 = "f32"


class LogLevel(StrEnum):
    """The least serious thing that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class IdentityConfig(Section):
    """Who this agent is, and where it keeps what must survive."""

    id: SafeId = Field(
        description="name of this agent at the back-end; never change it: repeats are recognised by it",
        examples=["gate-nuc-01"],
    )
    data_dir: ConfigPath = Field(
        default=Path("/var/lib/lpr-agent"),
        description="folder of the disk queue and of changes made at run time; on a disk, not in memory",
        examples=["/var/lib/lpr-agent"],
    )


class BackendConfig(Section):
    """The Node.js back-end that is told about every vehicle."""

    url: BackendUrl = Field(
        description="address of the socket.io server, without a path",
        examples=["https://api.example.vn", "http://localhost:3001"],
    )
    namespace: str = Field(
        default="/ai",
        description="socket.io namespace",
        examples=["/ai"],
        pattern=r"^/[A-Za-z0-9._/-]*$",
        max_length=100,
    )
    path: str = Field(
        default="/socket.io",
        description="path of the socket.io server; another one only where a proxy changes it",
        examples=["/socket.io"],
        pattern=r"^/[A-Za-z0-9._/-]+$",
        max_length=100,
    )
    token: SecretStr | None = Field(
        default=None,
        description="token the back-end asks for; better kept out of this file: token_file, or LPR_BACKEND__TOKEN",
        examples=["paste-the-token-here"],
    )
    token_file: ConfigPath | None = Field(
        default=None,
        description="file whose first line is the token; read again when the back-end refuses it",
        examples=["/etc/lpr-agent/token", "$CREDENTIALS_DIRECTORY/backend.token"],
    )
    ca_file: ConfigPath | None = Field(
        default=None,
        description="certificate (PEM) of an authority of your own; none = those the system trusts",
        examples=["/etc/lpr-agent/ca.pem"],
    )
    client_cert: ConfigPath | None = Field(
        default=None,
        description="this agent's own certificate (PEM), for mutual TLS",
        examples=["/etc/lpr-agent/client.pem"],
    )
    client_key: ConfigPath | None = Field(
        default=None,
        description="private key of client_cert (PEM, no passphrase)",
        examples=["/etc/lpr-agent/client.key"],
    )
    images: Annotated[ImageMode, BeforeValidator(lower_case)] = Field(
        default=ImageMode.BASE64,
        description="base64 | binary (half the CPU, a third less to send) | none",
        examples=["base64"],
    )
    payload: Annotated[PayloadShape, BeforeValidator(lower_case)] = Field(
        default=PayloadShape.MESSAGE,
        description="message: {type, data, timestamp, …} | data: the data's fields straight in the argument",
        examples=["message"],
    )
    ack: Annotated[AckRule, BeforeValidator(lower_case)] = Field(
        default=AckRule.LENIENT,
        description="lenient: also cb(), cb(true), {success: true} mean stored | strict: only the contract's answers",
        examples=["lenient"],
    )
    max_message_bytes: Size = Field(
        default=900_000,
        description="no message is larger; stay below the server's maxHttpBufferSize (1 MB where not set)",
        examples=["900 kB"],
        ge=20_000,
        le=100_000_000,
    )
    window: Whole = Field(
        default=8, description="events in flight before the first is acknowledged", examples=[8], ge=1, le=64
    )

    @model_validator(mode="after")
    def _certificate_and_key_together(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("needs client_cert and client_key together, or neither")
        return self

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("must have token or token_file, not both")
        return self

    def read_token(self) -> str | None:
        """The token as it is now: `token_file` is read anew at every call, so that a rotated one is found.

        None where no token is configured. Raises `ConfigError` where the file cannot be read or is empty.
        """
        if self.token_file is None:
            return self.token.get_secret_value() if self.token else None
        try:
            lines = self.token_file.read_text("utf-8-sig").strip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(
                f"backend.token_file: {self.token_file} cannot be read: {reason}",
                hint="the agent's user must be able to read it; systemd's LoadCredential= does that for you",
            ) from None
        if not lines:
            raise ConfigError(f"backend.token_file: {self.token_file} is empty", hint="its first line is the token")
        return lines[0].strip()


class OutboxConfig(Section):
    """The queue on disk, which holds every event until the back-end has it."""

    max_bytes: Size = Field(
        default=2 << 30, description="size the queue may grow to during an outage", examples=["2 GiB"], ge=1 << 20
    )
    max_age: Duration = Field(
        default=timedelta(days=7), description="what waited longer is given up, counted and reported", examples=["7 d"]
    )
    min_free_disk: Size = Field(
        default=1 << 30, description="space on the disk that the queue leaves free", examples=["1 GiB"], ge=0
    )
    keep_delivered: Duration = Field(
        default=timedelta(0),
        description="keep delivered detections so that they can be sent again; 0 = off",
        examples=["0 s"],
    )

    @field_validator("max_age")
    @classmethod
    def _age_is_useful(cls, value: timedelta) -> timedelta:
        if value < timedelta(minutes=1):
            raise ValueError("must be at least 1 min")
        return value


class VisionConfig(Section):
    """The networks that find and read plates."""

    device: Device = Field(
        default="AUTO",
        description="AUTO | CPU | GPU | NPU; `lpr-agent check` lists those that are in this machine",
        examples=["AUTO", "CPU", "GPU"],
    )
    min_confidence: Fraction = Field(
        default=REPORTED_FROM, description="reads below this are not reported as plates, 0..1", examples=[0.8]
    )
    precision: Annotated[Precision, BeforeValidator(lower_case)] = Field(
        default=Precision.AUTO, description="auto: as the device does it best | bf16 | f16 | f32", examples=["auto"]
    )
    input: Annotated[DetectorInput, BeforeValidator(lower_case)] = Field(
        default=DetectorInput.AUTO,
        description="auto | fast: plates are near | far: plates are small",
        examples=["auto"],
    )
    model_dir: ConfigPath | None = Field(
        default=None,
        description="folder with networks of your own; none = those that came along",
        examples=["/opt/lpr/models"],
    )
    cache: ConfigPath | None = Field(
        default=None,
        description="folder for compiled networks; none = cache in agent.data_dir",
        examples=["/var/cache/lpr-agent"],
    )


class GateConfig(Section):
    """The gate that a camera watches."""

    id: SafeId = Field(description="the back-end's name of the gate", examples=["GATE_001"])
    name: str = Field(
        default="", description="the gate's name for people; none = its id", examples=["Cổng chính"], max_length=200
    )

    @model_validator(mode="before")
    @classmethod
    def _name_from_id(cls, value: Any) -> Any:
        return _with_default_name(value)


def _with_default_name(value: Any) -> Any:
    if isinstance(value, dict) and not value.get("name") and isinstance(value.get("id"), str):
        return {**value, "name": value["id"]}
    return value


class DirectionConfig(Section):
    """How `action: auto` tells entry from exit."""

    towards: Annotated[Action, BeforeValidator(lower_case)] = Field(
        default=Action.ENTRY,
        description="what a vehicle that comes towards the camera does: entry | exit",
        examples=["entry"],
    )
    line: tuple[Fractions, Fractions] | None = Field(
        default=None,
        description="two points, fractions of the frame: crossing from left to right of the way from the first to "
        "the second is entry; swap them to turn it round",
        examples=[[[0.1, 0.6], [0.9, 0.6]]],
    )

    @field_validator("line")
    @classmethod
    def _line_in_frame(cls, line: tuple[Point, Point] | None) -> tuple[Point, Point] | None:
        if line is not None:
            check_points(line)
            if line[0] == line[1]:
                raise ValueError("must have two different points")
        return line


class CameraConfig(Section):
    """One camera: where its pictures come from and what they mean."""

    id: SafeId = Field(description="name of the camera in events, addresses and metrics", examples=["CAM_001"])
    name: str = Field(
        default="", description="its name for people; none = its id", examples=["Camera Gate 1"], max_length=200
    )
    source: SourceAddress = Field(
        description="rtsp://user:password@host:554/path, usb:0, usb:/dev/v4l/by-id/…, a video file, a folder of images",
        examples=["rtsp://user:secret@192.168.1.100:554/stream", "usb:0"],
    )
    analyse_source: SourceAddress | None = Field(
        default=None,
        description="smaller stream (sub-stream) of the same camera to look for plates in, which costs less; the "
        "pictures that are sent are taken from source",
        examples=["rtsp://user:secret@192.168.1.100:554/substream"],
    )
    gate: GateConfig = Field(description="the gate that it watches")
    action: Annotated[ActionRule, BeforeValidator(lower_case)] = Field(
        default=ActionRule.ENTRY, description="entry | exit | auto: from the way the plate moves", examples=["entry"]
    )
    default_action: Annotated[Action, BeforeValidator(lower_case)] = Field(
        default=Action.ENTRY,
        description="what auto says where the motion does not tell: entry | exit",
        examples=["entry"],
    )
    direction: DirectionConfig = Field(default=DirectionConfig(), description="how auto tells entry from exit")
    roi: tuple[Fractions, ...] | None = Field(
        default=None,
        description="corners, in order, of the region to look at, in fractions of the frame; none = all of it",
        examples=[[[0.1, 0.3], [0.9, 0.3], [0.9, 1.0], [0.1, 1.0]]],
        max_length=MAX_ROI_POINTS,
    )
    fps: Number = Field(default=8.0, description="frames analysed a second, 0.5 to 30", examples=[8], ge=0.5, le=30.0)
    device: Device | None = Field(
        default=None, description="this camera's own inference device; none = vision.device", examples=["GPU"]
    )
    decoder: Annotated[Decoder, BeforeValidator(lower_case)] = Field(
        default=Decoder.AUTO,
        description="auto | software | vaapi (Intel graphics, needs the system's ffmpeg)",
        examples=["auto"],
    )
    transport: Annotated[RtspTransport, BeforeValidator(lower_case)] = Field(
        default=RtspTransport.TCP, description="how RTSP travels: tcp | udp", examples=["tcp"]
    )
    pace: Annotated[Pace, BeforeValidator(lower_case)] = Field(
        default=Pace.REALTIME, description="for files: realtime | fast", examples=["realtime"]
    )
    min_confidence: Fraction | None = Field(
        default=None, description="this camera's own threshold, 0..1; none = vision.min_confidence", examples=[0.85]
    )
    enabled: Switch = Field(default=True, description="false = not started until a command starts it", examples=[True])
    emit: Annotated[EmitRule, BeforeValidator(lower_case)] = Field(
        default=EmitRule.SETTLED,
        description="settled: report as soon as the text is sure | final: when the vehicle has gone",
        examples=["settled"],
    )
    repeat_after: Duration = Field(
        default=timedelta(seconds=60),
        description="the same plate again within this time is the same passage, unless it moved the other way",
        examples=["60 s"],
    )

    @model_validator(mode="before")
    @classmethod
    def _name_from_id(cls, value: Any) -> Any:
        return _with_default_name(value)

    @model_validator(mode="after")
    def _two_streams_of_one_camera(self) -> Self:
        smaller = self.analyse_source
        if smaller is None:
            return self
        if smaller == self.source:
            raise ValueError("has the same source and analyse_source: leave analyse_source out, or name the sub-stream")
        if {smaller.kind, self.source.kind} != {SourceKind.NETWORK}:
            raise ValueError("has an analyse_source: both must then be streams of a network camera, such as rtsp://…")
        return self

    @field_validator("roi")
    @classmethod
    def _roi_is_a_region(cls, roi: tuple[Point, ...] | None) -> tuple[Point, ...] | None:
        if not roi:
            return None
        if len(roi) < 3:
            raise ValueError(f"must have at least 3 points, not {len(roi)}")
        check_points(roi)
        if crosses_itself(roi):
            raise ValueError("has edges that cross: list the corners in order around the region")
        if polygon_area(roi) < LEAST_ROI:
            raise ValueError("covers next to nothing of the frame: the points lie on a line or on one another")
        return roi


class TrackingConfig(Section):
    """How reads of one vehicle are joined into one passage."""

    lost_after: Duration = Field(
        default=timedelta(seconds=2), description="a vehicle not seen for this long has gone", examples=["2 s"]
    )
    report_unreadable: Switch = Field(
        default=True, description="report vehicles whose plate could not be read (PLATE_UNREADABLE)", examples=[True]
    )

    @field_validator("lost_after")
    @classmethod
    def _lost_after_is_useful(cls, value: timedelta) -> timedelta:
        if not timedelta(milliseconds=200) <= value <= timedelta(minutes=5):
            raise ValueError("must be 200 ms to 5 min")
        return value


class WeatherConfig(Section):
    """Weather sent along with every event, where the back-end wants it; the back-end may set it at run time."""

    condition: str | None = Field(default=None, description="in words", examples=["nắng"], max_length=100)
    temperature: Number | None = Field(default=None, description="degrees Celsius", examples=[31.5], ge=-60, le=70)
    humidity: Number | None = Field(default=None, description="percent", examples=[70], ge=0, le=100)

    def as_weather(self) -> Weather | None:
        """The domain's form; None where nothing is set."""
        if self.condition is None and self.temperature is None and self.humidity is None:
            return None
        return Weather(condition=self.condition, temperature=self.temperature, humidity=self.humidity)


class WebConfig(Section):
    """The local page with pictures, health and metrics."""

    enabled: Switch = Field(default=True, description="false = no page", examples=[True])
    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; 0.0.0.0 shows the page to the whole network, without a password",
        examples=["127.0.0.1", "0.0.0.0"],  # noqa: S104 - an example that the description warns of
        pattern=r"^[\w.:%-]+$",
        max_length=255,
    )
    port: Whole = Field(default=8090, description="port to listen on", examples=[8090], ge=1, le=65535)


class LogConfig(Section):
    """What the log says and how."""

    level: Annotated[LogLevel, BeforeValidator(lower_case)] = Field(
        default=LogLevel.INFO, description="debug | info | warning | error", examples=["info"]
    )
    format: Annotated[LogFormat, BeforeValidator(lower_case)] = Field(
        default=LogFormat.AUTO, description="auto: console at a terminal, else json | console | json", examples=["auto"]
    )
    file: ConfigPath | None = Field(
        default=None, description="also write JSON lines to this file", examples=["/var/log/lpr-agent/lpr-agent.log"]
    )


class AgentConfig(Section):
    """The whole configuration of one agent."""

    agent: IdentityConfig
    backend: BackendConfig
    outbox: OutboxConfig = OutboxConfig()
    vision: VisionConfig = VisionConfig()
    cameras: tuple[CameraConfig, ...] = Field(
        description="the cameras, each with an id of its own", min_length=1, max_length=MAX_CAMERAS
    )
    tracking: TrackingConfig = TrackingConfig()
    weather: WeatherConfig = WeatherConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()

    @field_validator("cameras")
    @classmethod
    def _ids_differ(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        seen: dict[str, int] = {}
        for place, camera in enumerate(cameras):
            # Addresses and metrics tell them apart by case; people do not.
            first = seen.setdefault(camera.id.lower(), place)
            if first != place:
                words = f"{camera.id} is the id of cameras[{first}] already: each camera needs one of its own"
                raise MistakeBelowError((place, "id"), words)
        return cameras

    def camera(self, camera_id: str) -> CameraConfig | None:
        """The camera of that id, or None."""
        return next((camera for camera in self.cameras if camera.id == camera_id), None)

    def min_confidence_of(self, camera: CameraConfig) -> float:
        """The threshold that holds for `camera`, 0..1."""
        return self.vision.min_confidence if camera.min_confidence is None else camera.min_confidence

    def device_of(self, camera: CameraConfig) -> str:
        """The inference device that holds for `camera`."""
        return camera.device or self.vision.device

    @property
    def cache_dir(self) -> Path:
        """Where compiled networks are kept."""
        return self.vision.cache or self.agent.data_dir / "cache"

    def secrets(self) -> Iterator[str]:
        """Every secret text in the configuration, for a log's masking processor."""
        if self.backend.token:
            yield self.backend.token.get_secret_value()
        for camera in self.cameras:
            for source in filter(None, (camera.source, camera.analyse_source)):
                yield from source.secrets
