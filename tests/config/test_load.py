"""From file, environment and credentials to one configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lpr.config import load, load_config
from lpr.domain.address import SourceKind
from lpr.domain.errors import ConfigError
from tests.config.conftest import GOOD

Write = Callable[[str], Path]


def test_the_design_pages_sample_loads(write: Write) -> None:
    config = load_config(
        write("""
agent:   {id: gate-nuc-01, data_dir: /var/lib/lpr-agent}
backend: {url: "https://api.example.vn", namespace: /ai, images: base64, max_message_bytes: 900000}
outbox:  {max_bytes: 2 GiB, max_age: 7 d, min_free_disk: 1 GiB}
vision:  {device: AUTO, min_confidence: 0.8}
cameras:
  - id: CAM_001
    name: Camera Gate 1
    source: rtsp://user:secret@192.168.1.100:554/stream
    gate: {id: GATE_001, name: Cổng chính}
    action: entry
    roi: [[0.1, 0.3], [0.9, 0.3], [0.9, 1.0], [0.1, 1.0]]
    fps: 8
    device: GPU
web:     {host: 127.0.0.1, port: 8090}
log:     {level: info, format: auto}
"""),
        {},
    )
    assert config.outbox.max_bytes == 2 << 30
    assert config.outbox.max_age == timedelta(days=7)
    camera = config.cameras[0]
    assert camera.gate.name == "Cổng chính"
    assert camera.roi == ((0.1, 0.3), (0.9, 0.3), (0.9, 1.0), (0.1, 1.0))
    assert camera.source.reveal() == "rtsp://user:secret@192.168.1.100:554/stream"
    assert camera.source.host == "192.168.1.100"
    assert config.device_of(camera) == "GPU"
    assert config.min_confidence_of(camera) == 0.8


def test_names_that_are_left_out_are_the_ids(good: Path) -> None:
    camera = load_config(good, {}).cameras[1]
    assert (camera.name, camera.gate.name) == ("CAM-2", "GATE_002")


def test_relative_paths_start_at_the_files_folder(good: Path) -> None:
    good.write_text(GOOD.replace("usb:0", "clips/gate.mp4"), "utf-8")
    config = load_config(good, {})
    assert config.agent.data_dir == good.parent / "data"
    assert config.cameras[1].source.reveal() == str(good.parent / "clips/gate.mp4")
    assert [camera.source.kind for camera in config.cameras[:2]] == [SourceKind.NETWORK, SourceKind.FILES]


def test_a_section_with_only_comments_in_it_has_its_defaults(write: Write) -> None:
    config = load_config(write(GOOD + "outbox:\n  # max_bytes: 1 GiB\nweb:\n"), {})
    assert config.outbox.max_bytes == 2 << 30
    assert config.web.port == 8090


def test_merge_keys_share_settings_between_cameras(write: Write) -> None:
    text = GOOD.replace("  - id: CAM_001", "  - &first\n    fps: 4\n    id: CAM_001").replace(
        "  - id: CAM-2", "  - <<: *first\n    id: CAM-2"
    )
    first, second = load_config(write(text), {}).cameras
    assert (first.fps, second.fps) == (4.0, 4.0)
    assert second.source.reveal() == "usb:0"


class TestSearch:
    def test_a_named_file_wins_over_the_environment(self, good: Path, tmp_path: Path) -> None:
        assert load(good, {"LPR_CONFIG": str(tmp_path / "other.yaml")}).file == good

    def test_the_environment_names_the_file(self, good: Path) -> None:
        assert load(None, {"LPR_CONFIG": str(good)}).config.agent.id == "gate-nuc-01"

    def test_the_working_directory_is_looked_at(self, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(good.parent)
        assert load(None, {}).config.agent.id == "gate-nuc-01"

    def test_without_a_file_it_says_where_it_looked_and_how_to_make_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("lpr.config.loading.SYSTEM_FILE", tmp_path / "etc/lpr-agent.yaml")
        with pytest.raises(ConfigError) as caught:
            load(None, {})
        for place in ("-c FILE", "$LPR_CONFIG", str(tmp_path / "lpr-agent.yaml"), "etc/lpr-agent.yaml"):
            assert place in caught.value.message
        assert "lpr-agent config init" in (caught.value.hint or "")

    def test_a_named_file_that_is_missing_is_not_passed_over(self, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(good.parent)
        with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
            load(Path("nowhere.yaml"), {})


class TestEnvironment:
    def test_a_variable_wins_over_the_file(self, good: Path) -> None:
        loaded = load(good, {"LPR_BACKEND__URL": "https://api.example.vn", "LPR_WEB__ENABLED": "false"})
        assert loaded.config.backend.url == "https://api.example.vn"
        assert loaded.config.web.enabled is False
        assert loaded.origins[("backend", "url")] == "$LPR_BACKEND__URL"

    @pytest.mark.parametrize("name", ["LPR_CAMERAS__CAM_001__FPS", "LPR_CAMERAS__0__FPS"])
    def test_a_camera_goes_by_id_or_place(self, good: Path, name: str) -> None:
        assert load_config(good, {name: "2.5"}).cameras[0].fps == 2.5

    def test_an_id_with_a_dash_is_written_with_an_underscore(self, good: Path) -> None:
        config = load_config(good, {"LPR_CAMERAS__CAM_2__GATE__NAME": "Cổng phụ"})
        assert config.cameras[1].gate.name == "Cổng phụ"

    def test_a_list_is_written_as_in_the_file(self, good: Path) -> None:
        config = load_config(good, {"LPR_CAMERAS__CAM_001__ROI": "[[0, 0], [1, 0], [1, 1]]"})
        assert config.cameras[0].roi == ((0, 0), (1, 0), (1, 1))

    def test_a_token_of_digits_stays_text(self, good: Path) -> None:
        assert load_config(good, {"LPR_BACKEND__TOKEN": "0012345"}).backend.read_token() == "0012345"

    def test_the_place_after_the_last_is_a_new_camera(self, good: Path) -> None:
        environ = {
            "LPR_CAMERAS__2__ID": "CAM_3",
            "LPR_CAMERAS__2__SOURCE": "usb:1",
            "LPR_CAMERAS__2__GATE__ID": "GATE_3",
        }
        assert [camera.id for camera in load_config(good, environ).cameras] == ["CAM_001", "CAM-2", "CAM_3"]

    def test_a_token_given_so_replaces_the_files_token_file(self, write: Write) -> None:
        path = write(GOOD.replace('3001"}', '3001", token_file: /nowhere}'))
        assert load_config(path, {"LPR_BACKEND__TOKEN": "abcdef"}).backend.read_token() == "abcdef"

    def test_a_misspelt_variable_is_refused_with_the_nearest_key(self, good: Path) -> None:
        with pytest.raises(ConfigError, match=r"\$LPR_BACKEND__TOKN is no known key; did you mean `token`"):
            load(good, {"LPR_BACKEND__TOKN": "x"})

    def test_a_wrong_value_names_the_variable(self, good: Path) -> None:
        with pytest.raises(ConfigError, match=r"\$LPR_CAMERAS__0__FPS must be a number"):
            load(good, {"LPR_CAMERAS__0__FPS": "fast"})

    def test_a_camera_that_is_not_there_names_those_that_are(self, good: Path) -> None:
        with pytest.raises(ConfigError, match="the cameras are CAM_001, CAM-2"):
            load(good, {"LPR_CAMERAS__CAM_009__FPS": "2"})

    def test_variables_of_other_programs_are_left_alone(self, good: Path) -> None:
        assert load_config(good, {"LPR_AGENT_SERVICE_HOST": "10.0.0.1", "LPR_DEBUG": "1"}).agent.id == "gate-nuc-01"


class TestSecrets:
    def test_a_token_file_is_read_anew_each_time(self, write: Write, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("first\n")
        config = load_config(write(GOOD.replace('3001"}', '3001", token_file: token}')), {})
        assert config.backend.read_token() == "first"
        token.write_text("rotated\n")
        assert config.backend.read_token() == "rotated"

    def test_systemd_credentials_are_found_by_name(self, good: Path, tmp_path: Path) -> None:
        folder = tmp_path / "credentials"
        folder.mkdir()
        (folder / "backend.token").write_text("from-systemd\n")
        (folder / "cameras.CAM_001.source").write_text("rtsp://admin:other@10.0.0.9/live\n")
        (folder / "somebody-elses").write_text("x")
        config = load_config(good, {"CREDENTIALS_DIRECTORY": str(folder)})
        assert config.backend.read_token() == "from-systemd"
        assert config.cameras[0].source.reveal() == "rtsp://admin:other@10.0.0.9/live"

    def test_a_path_may_name_the_credentials_directory(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "my-token").write_text("abc\n")
        path = write(GOOD.replace('3001"}', '3001", token_file: "$CREDENTIALS_DIRECTORY/my-token"}'))
        assert load_config(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).backend.read_token() == "abc"

    def test_a_path_with_a_variable_that_is_not_set_is_refused(self, write: Write) -> None:
        path = write(GOOD.replace('3001"}', '3001", token_file: "$CREDENTIALS_DIRECTORY/my-token"}'))
        with pytest.raises(ConfigError, match=r"uses \$CREDENTIALS_DIRECTORY, which is not set"):
            load(path, {})

    def test_a_missing_token_file_is_an_error_with_its_line(self, write: Write) -> None:
        path = write(GOOD.replace('3001"}', '3001", token_file: gone}'))
        with pytest.raises(ConfigError, match=r"line 2, backend\.token_file names .*gone.*No such file"):
            load(path, {})

    def test_an_empty_token_file_is_an_error(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("\n")
        path = write(GOOD.replace('3001"}', '3001", token_file: token}'))
        with pytest.raises(ConfigError, match="is empty"):
            load(path, {})

    def test_no_secret_is_in_any_form_of_the_configuration(self, good: Path) -> None:
        config = load_config(good, {"LPR_BACKEND__TOKEN": "t0psecret"})
        for text in (repr(config), str(config), config.model_dump_json(), str(config.cameras[0].source)):
            assert "s3cret" not in text
            assert "t0psecret" not in text
        assert set(config.secrets()) == {"s3cret", "t0psecret"}

    def test_a_file_with_passwords_that_all_can_read_is_warned_of(self, good: Path) -> None:
        assert load(good, {}).warnings == ()
        good.chmod(0o644)
        assert "chmod 640" in load(good, {}).warnings[0]

    def test_an_unencrypted_back_end_far_away_is_warned_of(self, good: Path) -> None:
        (warning,) = load(good, {"LPR_BACKEND__URL": "http://api.example.vn"}).warnings
        assert "not encrypted" in warning
