"""What is said around the page of a text that was traced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countermark.cli.session import Session

if TYPE_CHECKING:
    from countermark.workflows.text_pages import Caption
    from countermark.workflows.trace import Trace


def page_caption(session: Session, trace: Trace) -> Caption:
    """Return heading, facts and legend of an attributed text's page, in the session's language."""
    from countermark.workflows.text_pages import Caption

    found = [
        (session.tr("licensee"), f"{trace.licensee_name} ({session.tr('grant')} {trace.grant})"),
        ("p_ours", f"{(trace.p_ours or {}).get('value', 1.0):.2g}"),
        ("p_innocent", f"{(trace.p_innocent or {}).get('value', 1.0):.2g}"),
        (session.tr("trace"), trace.id),
        (session.tr("content"), trace.suspect),
    ]
    return Caption(
        heading=session.tr("{file}: how each token agrees with the licensee's word", file=trace.file),
        facts=found,
        legend=(
            session.tr("agrees no better than chance"),
            session.tr("agrees well"),
            session.tr("does not count: the context occurred before"),
        ),
        language=session.lang,
    )
