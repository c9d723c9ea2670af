from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from distilora.bundles.manifest import FileEntry, Manifest, Work, bundle_id, manifest_bytes
from distilora.bundles.storage import entries_of, is_bundle, read_bundle, read_manifest, write_bundle
from distilora.errors import BundleError
from tiny_bundle import save_tiny_bundle, save_tiny_ensemble

EXTRA = {"model.safetensors": b"weights" * 40, "config.json": b"{}"}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    odd = save_tiny_bundle(folder / "odd", extra=EXTRA)
    even = save_tiny_bundle(folder / "even", name="even", seed=1)
    return save_tiny_ensemble(folder / "both", {"odd": odd, "even": even})


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    return save_tiny_bundle(tmp_path / "odd", extra=EXTRA)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(folder: Path) -> str:
    """Return the one line with which a folder is refused as a bundle."""
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], **style: Any) -> None:
    """Change a bundle's manifest and give it the id that fits, as somebody would who wants us to open it."""
    table = json.loads((folder / "distilora.json").read_bytes())
    change(table)
    layout = {"ensure_ascii": False, "indent": 1, "sort_keys": True, **style}
    seal(folder, (json.dumps(table, **layout) + "\n").encode())


def seal(folder: Path, manifest: bytes) -> None:
    (folder / "distilora.json").write_bytes(manifest)
    (folder / "bundle-id").write_text(hashlib.sha256(manifest).hexdigest() + "\n")


# What is written


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    source = read_bundle(save_tiny_bundle(tmp_path / "source", extra=EXTRA))
    contents = {path.name: path.read_bytes() for path in source.path.iterdir()}
    written = {name: contents[name] for name in source.manifest.files}
    nothing_known = source.manifest.model_copy(
        update={"files": {"model.onnx": FileEntry(sha256="0" * 64, size_bytes=0)}}
    )
    identity = write_bundle(tmp_path / "copy", nothing_known, written)
    copy = read_bundle(tmp_path / "copy")
    assert identity == copy.id == source.id
    assert copy.manifest == source.manifest == read_manifest(copy.path)
    assert copy.contents == {name: contents[name] for name in ("model.onnx", "tokenizer.json")}
    assert names_in(tmp_path) == {"source", "copy"}


def test_the_id_is_the_sha256_of_the_manifest_file(odd: Path) -> None:
    written = (odd / "distilora.json").read_bytes()
    stored = read_bundle(odd)
    assert stored.id == hashlib.sha256(written).hexdigest() == bundle_id(stored.manifest)
    assert (odd / "bundle-id").read_bytes() == stored.id.encode() + b"\n"
    assert written == manifest_bytes(stored.manifest)


def test_an_ensemble_holds_whole_bundles(ensemble: Path) -> None:
    stored = read_bundle(ensemble)
    assert list(stored.members) == ["odd", "even"]
    for name, member in stored.members.items():
        assert member.path == ensemble / "members" / name
        assert member.id == read_bundle(ensemble.parent / name).id
    assert stored.contents == {}


def test_what_else_lies_in_a_folder_is_neither_read_nor_copied(odd: Path, tmp_path: Path) -> None:
    (odd / "pickle.bin").write_bytes(b"never looked at")
    (odd / "loop").symlink_to(odd)
    assert "pickle.bin" not in read_bundle(odd).contents
    both = save_tiny_ensemble(tmp_path / "both", {"odd": odd, "other": save_tiny_bundle(tmp_path / "other", seed=1)})
    assert names_in(both / "members" / "odd") == {*read_bundle(odd).manifest.files, "distilora.json", "bundle-id"}


# What is refused when read


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_bundle_with_any_bit_flipped_in_any_file_is_refused(ensemble: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(ensemble)))
    original = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    damaged = bytearray(original)
    damaged[bit // 8] ^= 1 << bit % 8
    refused_with(ensemble, path, bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_bundle_with_any_file_cut_short_or_grown_is_refused(ensemble: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(ensemble)))
    original = path.read_bytes()
    end = data.draw(st.integers(0, len(original) - 1))
    more = data.draw(st.binary(min_size=1, max_size=200))
    refused_with(ensemble, path, data.draw(st.sampled_from((original[:end], original + more))))


def refused_with(folder: Path, path: Path, content: bytes) -> None:
    """See that a bundle is refused, with the file named, when one file has other content; then put it back."""
    original = path.read_bytes()
    path.write_bytes(content)
    try:
        assert str(path.parent) in refusal(folder)
    finally:
        path.write_bytes(original)


def test_every_missing_file_is_named(ensemble: Path) -> None:
    for path in files_of(ensemble):
        aside = path.rename(ensemble.parent / "aside")
        assert refusal(ensemble).startswith((str(path), str(path.parent)))
        assert path.name in refusal(ensemble)
        aside.rename(path)


def test_damage_is_told_apart(odd: Path) -> None:
    path = odd / "model.onnx"
    original = path.read_bytes()
    path.write_bytes(original[:-1])
    assert re.search(r"model.onnx: is cut short: [\d,]+ bytes, distilora.json says [\d,]+", refusal(odd))
    path.write_bytes(original + b"\0")
    assert "model.onnx: is longer than it was" in refusal(odd)
    path.write_bytes(b"\0" + original[1:])
    assert "model.onnx: is damaged: its SHA-256 is not the one in distilora.json" in refusal(odd)
    path.unlink()
    assert "model.onnx: is missing" in refusal(odd)


@pytest.mark.parametrize("change", [{"format": 2}, {"format": 2, "tensors": [], "labels": 7}])
def test_a_newer_format_asks_for_a_newer_distilora(odd: Path, change: dict[str, Any]) -> None:
    rewrite(odd, lambda table: table.update(change))
    assert "made by a newer distilora: format 2, this one reads 1" in refusal(odd)


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        (b'{"name": "odd"}\n', "no format number"),
        (b'{"format": true}\n', "no format number"),
        (b'{"format": "1"}\n', "no format number"),
        (b'{"format": 0}\n', "no format number"),
        (b"[1]\n", "no format number"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"format": ', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format": 1' + b"0" * 10_000 + b"}", "not JSON"),
        ('{"format": 1}'.encode("utf-16"), "not JSON"),
        (b'{"format": 1}', "Field required"),
        (b" " * (2**20 + 1), "more than 1,048,576 bytes"),
    ],
)
def test_a_foreign_manifest_is_refused(odd: Path, manifest: bytes, line: str) -> None:
    seal(odd, manifest)
    assert line in refusal(odd)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_sealed_manifest_with_any_value_in_any_field_is_read_or_refused(odd: Path, data: st.DataObject) -> None:
    original = (odd / "distilora.json").read_bytes()
    name = data.draw(st.sampled_from(sorted(Manifest.model_fields)))
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
    value = data.draw(
        st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
    )
    table = json.loads(original) | {name: value}
    seal(odd, (json.dumps(table, ensure_ascii=True, indent=1, sort_keys=True) + "\n").encode())
    try:
        assert manifest_bytes(read_bundle(odd).manifest) == (odd / "distilora.json").read_bytes()
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    finally:
        seal(odd, original)


@pytest.mark.parametrize(
    "identity",
    [b"", b"0" * 64, b"0" * 63 + b"\n", b"A" * 64 + b"\n", b"0" * 64 + b"\n\n", b"0" * 64 + b"\r\n", b"0" * 129],
)
def test_an_id_of_another_form_is_refused(odd: Path, identity: bytes) -> None:
    (odd / "bundle-id").write_bytes(identity)
    assert "bundle-id: " in refusal(odd)


@pytest.mark.parametrize(
    "style", [{"indent": 2}, {"sort_keys": False}, {"ensure_ascii": True}, {"separators": (",", ":")}]
)
def test_a_manifest_in_another_spelling_is_refused(tmp_path: Path, style: dict[str, Any]) -> None:
    folder = save_tiny_bundle(tmp_path / "odd", labels=("höflich", "giftig"), positive=("giftig",))
    reverse = dict(reversed(json.loads((folder / "distilora.json").read_bytes()).items()))
    rewrite(folder, lambda table: (table.clear(), table.update(reverse)), **style)
    assert "not written as distilora writes it" in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 1},
        {"vocabulary_pruned_from": None},
        {"max_length": "16"},
        {"work": {"constant": float("inf"), "per_token": 1.0, "per_token_squared": 0.0}},
    ],
)
def test_a_value_that_means_the_same_in_another_spelling_is_refused(odd: Path, change: dict[str, Any]) -> None:
    rewrite(odd, lambda table: table.update(change))
    assert "not written as distilora writes it" in refusal(odd)


@pytest.mark.parametrize("command", ["\x1b[2J", "\x9b2J", "\r", "\n", "\x7f", "\u2028", "\u202e"])
def test_no_name_in_a_bundle_can_command_a_terminal(odd: Path, command: str) -> None:
    original = (odd / "distilora.json").read_bytes()
    manifest = read_manifest(odd)
    changes: dict[str, Any] = {
        "name": f"odd{command}",
        "labels": ["civil", "toxic", f"other{command}"],
        "origin": {**json.loads(original)["origin"], "data_source": command},
    }
    for field, value in changes.items():
        seal(odd, original)
        rewrite(odd, lambda table, new={field: value}: table.update(new))
        assert re.search(f'"{field}[a-z0-9._]*": control characters, .*are not allowed', refusal(odd))
        assert command not in refusal(odd)
    with pytest.raises(BundleError, match='not written: "name": control characters'):
        write_bundle(odd.parent / "new", manifest.model_copy(update={"name": command}), {"model.onnx": b""})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"temperature": 1e-300}, '"temperature": Input should be greater than or equal to 0.01'),
        ({"temperature": 1e300}, '"temperature": Input should be less than or equal to 100'),
        ({"max_length": 10**9}, '"max_length": Input should be less than or equal to 8192'),
        ({"pad_id": 10**30}, '"pad_id": Input should be less than 2147483648'),
        ({"labels": ["civil", "toxic", "toxic"]}, "distilora.json: labels: a name stands twice"),
    ],
)
def test_a_field_out_of_its_range_is_refused(odd: Path, change: dict[str, Any], line: str) -> None:
    rewrite(odd, lambda table: table.update(change))
    assert line in refusal(odd)


def test_an_ensemble_has_nothing_that_only_a_model_has(ensemble: Path) -> None:
    fields = read_manifest(ensemble).model_dump()
    for change in ({"pad_id": 0}, {"max_length": 16}, {"temperature": 1.0}):
        with pytest.raises(ValidationError, match="kind = ensemble"):
            Manifest(**{**fields, **change})


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/hostname",
        "members/odd",
        "a\\b",
        ".hidden",
        "..",
        "",
        "a\n",
        "bundle-id",
        "Members",
        "x" * 129,
    ],
)
def test_a_file_name_that_is_a_path_or_the_bundles_own_is_neither_read_nor_written(odd: Path, name: str) -> None:
    (odd.parent / "outside").write_bytes(b"1234")
    manifest = read_manifest(odd)
    rewrite(odd, lambda table: table["files"].update({name: {"sha256": "0" * 64, "size_bytes": 4}}))
    assert "file name " in refusal(odd)
    contents = {"model.onnx": b"", "tokenizer.json": b"", name: b"1234"}
    with pytest.raises(BundleError, match="file name "):
        write_bundle(odd.parent / "new", manifest, contents)
    assert names_in(odd.parent) == {"odd", "outside"}


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"model.onnx": 2**31 + 1}, "model.onnx has 2,147,483,649 bytes; allowed are 2,147,483,648"),
        ({"tokenizer.json": 2**26 + 1}, "tokenizer.json has 67,108,865 bytes; allowed are 67,108,864"),
        ({"model.safetensors": 2**32 + 1}, "allowed are 4,294,967,296"),
        ({f"file-{index}": 0 for index in range(62)}, "67 files; allowed are 64"),
        ({"README.MD": 0}, "differ only in capitals"),
    ],
)
def test_limits_hold_before_any_file_is_opened(odd: Path, files: dict[str, int], line: str) -> None:
    entries = {name: {"sha256": "0" * 64, "size_bytes": size} for name, size in files.items()}
    rewrite(odd, lambda table: table["files"].update(entries))
    for path in (odd / "model.onnx", odd / "tokenizer.json"):
        path.unlink()
    assert line in refusal(odd)


def test_a_model_without_tokenizer_is_refused(odd: Path) -> None:
    rewrite(odd, lambda table: table["files"].pop("tokenizer.json"))
    assert "tokenizer.json is not among the files" in refusal(odd)


@pytest.mark.parametrize("name", ["model.onnx", "README.md", "distilora.json", "bundle-id"])
def test_a_link_in_a_bundle_is_refused_whatever_it_leads_to(odd: Path, name: str) -> None:
    (odd / name).rename(odd.parent / "outside")
    (odd / name).symlink_to(odd.parent / "outside")
    assert f"{name}: is no plain file" in refusal(odd)


@pytest.mark.parametrize("linked", ["members", "members/odd"])
def test_a_member_behind_a_link_is_refused(ensemble: Path, linked: str) -> None:
    aside = (ensemble / linked).rename(ensemble.parent / "outside")
    (ensemble / linked).symlink_to(aside)
    try:
        assert f"{linked}: is a link" in refusal(ensemble)
    finally:
        (ensemble / linked).unlink()
        aside.rename(ensemble / linked)


def test_a_link_to_a_whole_bundle_is_read(odd: Path) -> None:
    (odd.parent / "latest").symlink_to(odd)
    assert read_bundle(odd.parent / "latest").id == read_bundle(odd).id


def test_a_pipe_or_folder_in_place_of_a_file_is_refused_without_waiting(odd: Path) -> None:
    (odd / "README.md").unlink()
    os.mkfifo(odd / "README.md")
    assert "README.md: is no plain file" in refusal(odd)
    (odd / "README.md").unlink()
    (odd / "README.md").mkdir()
    assert "README.md: is no plain file" in refusal(odd)


@pytest.mark.parametrize(
    ("made", "line"),
    [
        ((), "no such folder; distilora export RUN"),
        (("x/result.json",), "is a trained run, not a bundle; distilora export"),
        (("x/experiment.toml",), "is an experiment, not a bundle; give one of its bundles"),
        (("x/bundle/distilora.json",), "not a bundle, but holds one"),
        (("x/config.json",), "distilora.json is missing"),
        (("x",), "is a file; a bundle is a folder"),
        (("x/distilora.json",), "bundle-id: is missing"),
        ((".x.replaced/distilora.json",), "its replacement was cut off"),
    ],
)
def test_another_path_is_told_what_it_is(tmp_path: Path, made: tuple[str, ...], line: str) -> None:
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert line in refusal(tmp_path / "x")
    assert is_bundle(tmp_path / "x") == ("x/distilora.json" in made)


def test_a_name_too_long_for_the_file_system_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 300))


# Members


def test_a_member_must_be_the_one_that_was_named(ensemble: Path, tmp_path: Path) -> None:
    odd, even = ensemble.parent / "odd", ensemble.parent / "even"
    manifest, card = read_manifest(ensemble), (ensemble / "README.md").read_bytes()
    for members, line in (
        ({"odd": even, "even": odd}, "but the ensemble's odd is"),
        ({"odd": odd}, "must be the same"),
        ({"odd": odd, "even": even, "more": even}, "must be the same"),
        ({"odd": odd, "even": tmp_path / "nowhere"}, "no such folder"),
    ):
        with pytest.raises(BundleError, match=line):
            write_bundle(tmp_path / "both", manifest, {"README.md": card}, members=members)
        assert names_in(tmp_path) == set()


def test_swapped_members_are_refused(ensemble: Path) -> None:
    folder = ensemble / "members"
    (folder / "odd").rename(folder / "aside")
    (folder / "even").rename(folder / "odd")
    try:
        assert "odd: is bundle " in refusal(ensemble)
    finally:
        (folder / "odd").rename(folder / "even")
        (folder / "aside").rename(folder / "odd")


def test_members_have_the_labels_of_the_ensemble_in_order(ensemble: Path, tmp_path: Path) -> None:
    other = save_tiny_bundle(tmp_path / "other", labels=("toxic", "civil"))
    with pytest.raises(BundleError, match="other: its labels are not the ensemble's"):
        save_tiny_ensemble(tmp_path / "both", {"odd": ensemble.parent / "odd", "other": other})


def test_an_ensemble_of_ensembles_is_refused(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="both: is an ensemble inside an ensemble"):
        save_tiny_ensemble(tmp_path / "more", {"odd": ensemble.parent / "odd", "both": ensemble})
    assert names_in(tmp_path) == set()


# Whole or not at all


class Failing(Mapping[str, bytes]):
    """Contents of which one can be had once, to be hashed, and then fails."""

    def __init__(self, contents: dict[str, bytes], failure: BaseException) -> None:
        self.contents, self.failure, self.asked = contents, failure, 0

    def __getitem__(self, name: str) -> bytes:
        self.asked += 1
        if self.asked > len(self.contents) + 1:
            raise self.failure
        return self.contents[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.contents)

    def __len__(self) -> int:
        return len(self.contents)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("replace", [False, True])
def test_a_write_that_fails_leaves_what_was_there(odd: Path, failure: BaseException, replace: bool) -> None:
    stored = read_bundle(odd)
    contents = {name: (odd / name).read_bytes() for name in stored.manifest.files}
    target = odd if replace else odd.parent / "new"
    raised = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else BundleError
    with pytest.raises(raised):
        write_bundle(target, stored.manifest, Failing(contents, failure), replace=replace)
    assert names_in(odd.parent) == {"odd"}
    assert read_bundle(odd).id == stored.id


_KILLED = """
import os, sys
from pathlib import Path
from distilora.bundles import writing
from tiny_bundle import save_tiny_bundle

step, target = sys.argv[1:]
original = getattr(os, step)
def killed(*arguments, **named):
    killed.left -= 1
    if not killed.left:
        os._exit(9)
    return original(*arguments, **named)
killed.left = 2
setattr(os, step, killed)
save_tiny_bundle(Path(target), seed=1, replace=True)
"""


@pytest.mark.parametrize(("step", "left"), [("fsync", ".odd.partial"), ("rename", ".odd.replaced")])
def test_after_a_killed_write_the_next_one_clears_away(odd: Path, step: str, left: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, step, odd],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        check=False,
    )
    assert process.returncode == 9
    assert left in names_in(odd.parent)
    old = odd if step == "fsync" else odd.parent / left
    assert read_bundle(old).manifest.origin.seed == 0
    with pytest.raises(BundleError, match="holds a bundle already"):
        save_tiny_bundle(odd, seed=1)
    save_tiny_bundle(odd, seed=1, replace=True)
    assert read_bundle(odd).manifest.origin.seed == 1
    assert names_in(odd.parent) == {"odd"}


def test_only_one_writes_a_bundle_at_a_time(odd: Path) -> None:
    import fcntl

    partial = odd.with_name(".odd.partial")
    partial.mkdir()
    (partial / "theirs").touch()
    descriptor = os.open(partial, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BundleError, match="another distilora is writing it"):
        save_tiny_bundle(odd, replace=True)
    assert names_in(partial) == {"theirs"}
    os.close(descriptor)
    save_tiny_bundle(odd, replace=True)
    assert names_in(odd.parent) == {"odd"}


def test_a_partial_folder_that_is_a_link_is_not_emptied(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".new.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(BundleError):
        save_tiny_bundle(tmp_path / "new")
    assert names_in(tmp_path / "precious") == {"file"}


# What may be replaced


def test_a_bundle_is_replaced_only_when_that_was_said(odd: Path) -> None:
    with pytest.raises(BundleError, match="holds a bundle already"):
        save_tiny_bundle(odd, seed=1)
    assert read_bundle(odd).manifest.origin.seed == 0
    save_tiny_bundle(odd, seed=1, replace=True)
    assert read_bundle(odd).manifest.origin.seed == 1
    assert names_in(odd.parent) == {"odd"}


def test_a_damaged_bundle_is_replaced(odd: Path) -> None:
    (odd / "bundle-id").unlink()
    save_tiny_bundle(odd, replace=True)
    assert read_bundle(odd).path == odd


@pytest.mark.parametrize("made", ["folder", "empty folder", "file", "link to a bundle", "link to nothing"])
def test_what_is_no_bundle_is_never_replaced(odd: Path, made: str) -> None:
    path = odd.parent / "there"
    if made.endswith("folder"):
        path.mkdir()
    if made == "folder":
        (path / "thesis.txt").touch()
    elif made == "file":
        path.touch()
    elif made.startswith("link"):
        path.symlink_to(odd if made == "link to a bundle" else odd.parent / "nowhere")
    with pytest.raises(BundleError, match="is there already and is no bundle"):
        save_tiny_bundle(path, replace=True)
    assert names_in(odd.parent) == {"odd", "there"}
    assert made != "folder" or names_in(path) == {"thesis.txt"}


def test_the_root_folder_is_refused() -> None:
    with pytest.raises(BundleError, match="/: "):
        save_tiny_bundle(Path("/"), replace=True)


def test_a_manifest_that_could_not_be_read_again_is_not_written(odd: Path, tmp_path: Path) -> None:
    manifest = read_manifest(odd)
    contents = {name: (odd / name).read_bytes() for name in manifest.files}
    endless = Work(constant=float("inf"), per_token=0.0, per_token_squared=0.0)
    many = tuple(f"{index:0200}" for index in range(9_000))
    for change, kept, line in (
        ({"work": endless}, contents, "JSON has no place for"),
        ({"labels": ("civil", *many), "positive": many}, contents, "allowed are 1,048,576"),
        ({}, {"tokenizer.json": b""}, "model.onnx"),
        ({}, {"model.onnx": b""}, "tokenizer.json is not among the files"),
    ):
        with pytest.raises(BundleError, match=line):
            write_bundle(tmp_path / "new", manifest.model_copy(update=change), kept)
    assert names_in(tmp_path) == {"odd"}


def test_entries_tell_size_and_hash() -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert entries_of({"a": b""}) == {"a": FileEntry(sha256=empty, size_bytes=0)}
