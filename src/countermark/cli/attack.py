"""``countermark attack``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, write_file
from countermark.cli.shell import Command
from countermark.cli.text import table
from countermark.errors import InputError, StorageError, UsageProblem

if TYPE_CHECKING:
    from countermark.marking.attacks.pixels import Pixels


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the attacked copies.")
@click.option("--list", "listing", is_flag=True, help="Show the attacks and the lists.")
def attack(name: str | None, images: tuple[Path, ...], out: Path | None, listing: bool) -> None:
    """Treat images and texts as those who share, edit or launder them do, to see whether their marks survive.

    NAME is an attack, several in a row joined by +, or several apart joined by commas; the name of a list stands for
    all in it. Of several attacks, each gets a folder of its own in DIR. Copies keep their names and become PNG,
    whatever the last step was, so that nothing else is done to them. Attacks are the same every time. Needs no
    workspace.

    Texts have edits of their own, of a share of their words or Chinese characters; copies become plain text.

    Example:
      countermark attack --list
      countermark attack "crop(0.5)+jpeg(60)" marked/photo.png --out attacked
      countermark attack research marked/photo.png --out attacked
      countermark attack "substitute(0.1)+delete(0.1)" reply.txt --out attacked
    """
    session = current()
    if listing:
        session.answer("attack-list", *_list(session))
        return
    if name is None or not images or out is None:
        raise UsageProblem("give an attack, images and --out", hint="The attacks: countermark attack --list")
    made = [_attacked(*task) for task in _tasks(name, images, out)]
    session.answer("attack", {"copies": made}, _describe(session, made))


def _tasks(name: str, images: tuple[Path, ...], out: Path) -> Iterator[tuple[str, Path, Path]]:
    """Return attack, source and target of every copy, after a look at all of them."""
    from countermark.marking.attacks import named, parse, texts

    attacks = named(name)
    for each in attacks:
        (texts.parse if texts.is_edit(each) else parse)(each)
    if len({image.stem.lower() for image in images}) < len(images):
        raise InputError("two images have the same name", hint="Write them into different folders.")
    folders = [out / each for each in attacks] if len(attacks) > 1 else [out]
    tasks = [
        (each, image, folder / f"{image.stem}{'.txt' if texts.is_edit(each) else '.png'}")
        for each, folder in zip(attacks, folders, strict=True)
        for image in images
    ]
    for _, image, target in tasks:
        if target.exists() and image.exists() and target.samefile(image):
            raise InputError("{path} would be overwritten", hint="Choose another folder with --out.", path=image)
    return iter(tasks)


def _attacked(name: str, source: Path, target: Path) -> dict[str, Any]:
    from countermark.marking.attacks import texts

    data, size = (_edited if texts.is_edit(name) else _treated)(name, source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot make the folder {path}", path=target.parent) from error
    write_file(target, data)
    return {"attack": name, "source": str(source), "path": str(target)} | size


def _treated(name: str, source: Path) -> tuple[bytes, dict[str, int]]:
    """Return an attacked picture as PNG, and its size."""
    from countermark.marking.attacks import apply
    from countermark.marking.image.files import read_pixels

    after = apply(name, read_pixels(source))
    height, width = after.shape[:2]
    return _png(after), {"width": width, "height": height}


def _edited(name: str, source: Path) -> tuple[bytes, dict[str, int]]:
    """Return an edited text, and its size; of a file with several texts, all of them."""
    from countermark.marking.attacks import texts
    from countermark.marking.text.files import read_texts

    found = read_texts(source)
    if not found:
        raise InputError("{path} holds no text", path=source)
    after = "\n\n".join(texts.apply(name, each) for each in found)
    return after.encode(errors="replace"), {"characters": len(after)}


def _png(pixels: Pixels) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _describe(session: Session, made: list[dict[str, Any]]) -> str:
    head = [session.tr("attacked copy"), session.tr("attack"), session.tr("size")]
    sizes = [
        str(each["characters"]) if "characters" in each else f"{each['width']} x {each['height']}" for each in made
    ]
    return table(head, [[each["path"], each["attack"], size] for each, size in zip(made, sizes, strict=True)])


def _list(session: Session) -> tuple[dict[str, Any], str]:
    """Return the attacks with their arguments, the chains and the lists, as a document and as text."""
    from countermark.marking.attacks import ATTACKS, CHAINS, LISTS, arguments, texts

    attacks = {name: arguments(attack) for name, attack in ATTACKS.items()}
    edits = [f"{name}(share)" for name in texts.EDITS]
    lists = {name: list(each) for name, each in LISTS.items()}
    document = {"attacks": attacks, "chains": CHAINS, "lists": lists, "edits": edits}
    parts = [
        (session.tr("Attacks"), [f"{name}({','.join(each)})" if each else name for name, each in attacks.items()]),
        (session.tr("Chains with a name"), [f"{name} = {chain}" for name, chain in CHAINS.items()]),
        (session.tr("Edits of texts"), edits),
        *((session.tr("List {name}", name=name), each) for name, each in LISTS.items()),
    ]
    return document, "\n\n".join("\n  ".join((head, *lines)) for head, lines in parts)
