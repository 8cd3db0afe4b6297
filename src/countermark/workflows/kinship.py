"""Which registered models a new one is made of, and whether it says so.

A model that holds most tensors of a registered one is derived from it and owes what that one's terms ask. So it names
it as a parent, or descends from a parent that does; otherwise it is not registered.
"""

from __future__ import annotations

from collections.abc import Collection

from countermark.artifact.kinship import DERIVED_ABOVE, Content, content_of, shared_part
from countermark.artifact.manifest import ModelManifest
from countermark.core.dsse import read_unverified
from countermark.errors import UndeclaredDerivative
from countermark.registry import Title
from countermark.workflows.office import Office, titles


def refuse_undeclared(office: Office, manifest: ModelManifest, parents: Collection[int]) -> None:
    """Refuse a model that is made of a registered one and does not name it.

    Raises:
        UndeclaredDerivative: naming the title, and the part of the smaller model's tensor bytes that both share.
        NotFoundError: a parent is not registered.
    """
    declared = set(parents).union(*(ancestors(office, parent) for parent in parents))
    with office.store.transaction() as transaction:
        registered = {title.id: title for title in titles(transaction)}
    ours, contents = content_of(manifest.tensors), {number: _content(title) for number, title in registered.items()}
    for number in sorted(registered.keys() - declared):
        # Siblings share what both have from an ancestor that this model declares too; what counts is the rest.
        common = (contents[each] for each in ancestors(office, number) & declared & contents.keys())
        part = shared_part(ours, contents[number], without=set().union(*common))
        if part > DERIVED_ABOVE:
            raise UndeclaredDerivative(
                "{share} of the tensors are those of title {title} ({name}), which is not named as a parent",
                hint="Repeat with --derived-from {title}:BPS, at the share that its terms ask for.",
                share=f"{part:.0%}",
                title=number,
                name=registered[number].name,
            )


def ancestors(office: Office, title: int) -> set[int]:
    """Return the titles of all models that a registered one descends from.

    Raises:
        NotFoundError: it is not registered.
    """
    return {int(share["title_id"]) for share in office.ledger.view("ModelTitles", "royaltyStack", title)}


def _content(title: Title) -> Content:
    """Return the tensors of a registered model, by its signed manifest."""
    return content_of(ModelManifest.from_json(read_unverified(title.registration)["manifest"]).tensors)
