"""Countermark: a rights office for AI models.

The path of the data is the map of the package; each name below is loaded when it is first used.

    an office       ``create_office``, ``open_office``                                          ``bootstrap``
    register        ``add_party``, ``register_model``                                           ``workflows.register``
    audit           ``open_images``, ``ImageStore``, ``Examiner``; ``open_corpus``, ``TextExaminer``; ``Watch``;
                    ``record_audit``, ``make_audit_bundle``                                     ``audit``
    license         ``Terms``, ``offer_terms``, ``invite``, ``accept``, ``grant_license``, ``grant_to_held``,
                    ``revoke_grant``, ``reserve_identifiers``                                   ``workflows.license``
    mark            ``request_marks``, ``mark_images``                                          ``workflows.mark``
    trace           ``trace_files``, ``trace_pool``, ``trace_regions``, ``Use``, ``Trace``      ``workflows.trace``
    anchor, check   ``anchor_log``, ``check_office``                                            ``workflows``
    keys and trust  ``rotate_key``, ``export_trust``, ``Trust``                                 ``workflows.keys``
    evidence        ``make_bundle``; elsewhere ``verify``, ``Demand``, ``VerifiedBundle``, ``read_trust``  ``evidence``
    single parts    ``survey``, ``digest_model``, ``ModelManifest``; ``LatticeMark``, ``NoiseMark``, ``DiffusionMark``,
                    ``Detection``, ``NotExamined``

*Verification* returns the verified thing or raises; *detection* returns a ``Detection`` with a p-value, never a
boolean. Everything that is raised on purpose is a ``CountermarkError`` with a stable ``code`` (``errors``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from countermark.artifact import ModelManifest, digest_model, survey
    from countermark.audit.images.examine import Examiner
    from countermark.audit.images.reading import open_images
    from countermark.audit.images.store import ImageStore
    from countermark.audit.text.examine import TextExaminer
    from countermark.audit.text.reading import open_corpus
    from countermark.audit.watch import Watch
    from countermark.bootstrap import create_office, load_party_key, open_office, save_party_key
    from countermark.errors import CountermarkError
    from countermark.evidence.trust import Trust, read_trust
    from countermark.evidence.verification import Demand, VerifiedBundle, verify
    from countermark.licensing import Terms
    from countermark.marking import Detection, NotExamined
    from countermark.marking.image.diffusion import DiffusionMark
    from countermark.marking.image.lattice import LatticeMark
    from countermark.marking.image.noise import NoiseMark
    from countermark.workflows.anchor import anchor_log
    from countermark.workflows.audit import make_audit_bundle, record_audit
    from countermark.workflows.bundle import make_bundle
    from countermark.workflows.check import check_office
    from countermark.workflows.keys import export_trust, rotate_key
    from countermark.workflows.license import (
        accept,
        grant_license,
        grant_to_held,
        invite,
        offer_terms,
        reserve_identifiers,
        revoke_grant,
    )
    from countermark.workflows.mark import mark_images, request_marks
    from countermark.workflows.office import Office
    from countermark.workflows.register import add_party, register_model
    from countermark.workflows.trace import Trace, Use, trace_files, trace_pool, trace_regions

__version__ = "0.1.0"

_HOMES = {
    "artifact": ("ModelManifest", "digest_model", "survey"),
    "audit.images.examine": ("Examiner",),
    "audit.images.reading": ("open_images",),
    "audit.images.store": ("ImageStore",),
    "audit.text.examine": ("TextExaminer",),
    "audit.text.reading": ("open_corpus",),
    "audit.watch": ("Watch",),
    "bootstrap": ("create_office", "load_party_key", "open_office", "save_party_key"),
    "errors": ("CountermarkError",),
    "evidence.trust": ("Trust", "read_trust"),
    "evidence.verification": ("Demand", "VerifiedBundle", "verify"),
    "licensing": ("Terms",),
    "marking": ("Detection", "NotExamined"),
    "marking.image.diffusion": ("DiffusionMark",),
    "marking.image.lattice": ("LatticeMark",),
    "marking.image.noise": ("NoiseMark",),
    "workflows.anchor": ("anchor_log",),
    "workflows.audit": ("make_audit_bundle", "record_audit"),
    "workflows.bundle": ("make_bundle",),
    "workflows.check": ("check_office",),
    "workflows.keys": ("export_trust", "rotate_key"),
    "workflows.license": (
        "accept",
        "grant_license",
        "grant_to_held",
        "invite",
        "offer_terms",
        "reserve_identifiers",
        "revoke_grant",
    ),
    "workflows.mark": ("mark_images", "request_marks"),
    "workflows.office": ("Office",),
    "workflows.register": ("add_party", "register_model"),
    "workflows.trace": ("Trace", "Use", "trace_files", "trace_pool", "trace_regions"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # spelled out, so that type checkers and readers see it; a test holds it against ``_HOMES``
    "CountermarkError",
    "Demand",
    "Detection",
    "DiffusionMark",
    "Examiner",
    "ImageStore",
    "LatticeMark",
    "ModelManifest",
    "NoiseMark",
    "NotExamined",
    "Office",
    "Terms",
    "TextExaminer",
    "Trace",
    "Trust",
    "Use",
    "VerifiedBundle",
    "Watch",
    "__version__",
    "accept",
    "add_party",
    "anchor_log",
    "check_office",
    "create_office",
    "digest_model",
    "export_trust",
    "grant_license",
    "grant_to_held",
    "invite",
    "load_party_key",
    "make_audit_bundle",
    "make_bundle",
    "mark_images",
    "offer_terms",
    "open_corpus",
    "open_images",
    "open_office",
    "read_trust",
    "record_audit",
    "register_model",
    "request_marks",
    "reserve_identifiers",
    "revoke_grant",
    "rotate_key",
    "save_party_key",
    "survey",
    "trace_files",
    "trace_pool",
    "trace_regions",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
