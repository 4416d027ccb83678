"""Whatever lies under the name of a file is read, or refused in a sentence; nothing hangs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.linting import reading
from doctor.linting.engine import lint_file
from doctor.linting.findings import Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.reading import SIZE_MAX, read_text

ROOT = Path(__file__).parent.parent
SERVER = "server { listen 80; location / { proxy_pass http://127.0.0.1:8080; } }\n"


def refusal(path: Path) -> str:
    with pytest.raises(Unreadable) as unreadable:
        read_text(path)
    return str(unreadable.value)


def test_a_pipe_into_which_nobody_writes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SILENCE_S", 0.2)
    pipe = tmp_path / "nginx.conf"
    os.mkfifo(pipe)
    assert refusal(pipe) == f"{pipe}: nothing came out of it for 0.2 s; is it a file?"


def test_what_another_program_writes_into_a_pipe_is_read() -> None:
    behind, front = os.pipe()
    os.write(front, SERVER.encode())
    os.close(front)
    try:
        assert read_text(Path(f"/dev/fd/{behind}")) == SERVER
    finally:
        os.close(behind)


def test_a_device_without_an_end_is_left_at_the_limit() -> None:
    assert refusal(Path("/dev/zero")) == "/dev/zero: it has more than 4 MiB: no configuration"


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    file = tmp_path / "long.conf"
    file.write_text("#" * SIZE_MAX)
    assert len(read_text(file)) == SIZE_MAX


def test_links_that_go_round_in_circles_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.symlink_to(second)
    second.symlink_to(first)
    assert refusal(first) == f"{first}: it is a symbolic link that leads back to itself"


@pytest.mark.parametrize("include", ["nginx.conf", "link.conf", "*.conf"])
def test_includes_that_go_round_in_circles_are_refused(tmp_path: Path, include: str) -> None:
    main = tmp_path / "nginx.conf"
    main.write_text(f"http {{ include {include}; }}\n")
    (tmp_path / "link.conf").symlink_to(main)
    told = lint_file(main, None, Paths()).unreadable
    assert "includes go round in circles, or there are too many" in told


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_an_include_that_is_no_file_is_told_and_not_read(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other.conf"
    if kind == "folder":
        other.mkdir()
    else:
        os.mkfifo(other)
    main = tmp_path / "nginx.conf"
    main.write_text(f"http {{ include other.conf; {SERVER} }}\n")
    report = lint_file(main, None, Paths())
    assert report.unreadable == ""
    assert any("include other.conf" in remark for remark in report.remarks)


def test_an_include_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.conf").write_text("#" * (SIZE_MAX + 1))
    main = tmp_path / "nginx.conf"
    main.write_text("http { include long.conf; }\n")
    assert "long.conf: it has more than 4 MiB" in lint_file(main, None, Paths()).unreadable


def test_a_depth_that_no_program_reads_is_no_failure(tmp_path: Path) -> None:
    main = tmp_path / "nginx.conf"
    main.write_text("a {" * 5000 + "}" * 5000)
    assert lint_file(main, None, Paths()).unreadable.startswith(str(main))


def lint(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "hopscope", "lint", *words],
        input=given,
        capture_output=True,
        cwd=ROOT,
        timeout=50,
        check=False,
    )


def test_standard_input_is_a_file_like_any_other() -> None:
    done = lint("-", given=SERVER.encode())
    assert done.returncode == 1
    assert b"-:1 NG01 upgrade-not-passed" in done.stdout


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("-",), b"", b"-: it is empty"),
        (("-",), b"\0\1", b"-: it is binary"),
        (("-",), b"#" * (SIZE_MAX + 1), b"-: it has more than 4 MiB"),
        (("-", "--sarif", "/nonexistent/out"), SERVER.encode(), b"/nonexistent/out: No such file"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_usage(
    words: tuple[str, ...], given: bytes, told: bytes
) -> None:
    done = lint(*words, given=given)
    assert done.returncode == 64
    assert told in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
