"""What a report says: the verdict with its error rate, and the limits, in words for people who judge."""

from __future__ import annotations

from collections.abc import Callable

from countermark.audit.report.reading import Part, count, decimal, percent

#: Returns a template in the reader's language with its fields filled in, as ``countermark.i18n.tr``.
Say = Callable[..., str]


def found(document: Part) -> bool:
    """Return whether the document's verdict is that there are copies."""
    return document.part("decision").text("verdict") == "copies-found"


def heading(say: Say, document: Part) -> str:
    """Return the verdict in a few words."""
    if document.part("decision").text("verdict") not in ("copies-found", "no-copies-found"):
        return say("Memorization audit without a verdict")
    if document.text("kind") == "texts":
        if found(document):
            return say("Passages of the training texts were found in what the model wrote")
        return say("No copied passages were found in what the model wrote")
    if found(document):
        return say("Copies of training images were found among the model's images")
    return say("No copies of training images were found among the model's images")


def verdict(say: Say, document: Part) -> str:
    """Return the sentence that the report is about."""
    decision, total = document.part("decision"), len(document.parts("items"))
    flagged = decision.whole("flagged")
    fdr = document.part("method").number("fdr")
    params = {"flagged": count(flagged), "total": count(total), "fdr": percent(fdr)}
    texts = document.text("kind") == "texts"
    if found(document) and texts:
        return say(
            "Of {total} texts that the model wrote, {flagged} share a longer passage with a training text than chance "
            "explains, judged by real texts that the model was never trained on. The line is drawn so that on average "
            "at most {fdr} of the texts named are named wrongly.",
            **params,
        )
    if found(document):
        return say(
            "Of {total} images that the model made, {flagged} lie nearer to a training image than chance explains, "
            "judged by real images that the model was never trained on. The line is drawn so that on average at most "
            "{fdr} of the images named are named wrongly.",
            **params,
        )
    if texts:
        return say(
            "None of the {total} texts that the model wrote shares a longer passage with a training text than chance "
            "explains, judged by real texts that the model was never trained on. Had this model copied nothing, some "
            "text would still have been named in at most {fdr} of such audits.",
            **params,
        )
    return say(
        "None of the {total} images that the model made lies nearer to a training image than chance explains, judged "
        "by real images that the model was never trained on. Had this model copied nothing, some image would still "
        "have been named in at most {fdr} of such audits.",
        **params,
    )


def cautions(say: Say, document: Part) -> list[str]:
    """Return what must be read together with the verdict: each would change how far it goes."""
    decision, texts = document.part("decision"), document.text("kind") == "texts"
    smallest, said = decision.whole("smallest_flaggable"), list[str]()
    if document.part("same_source").flag("warning"):
        said.append(
            say(
                "Warning: the held-out data do not look as if they came from the same source as the training data "
                "(p = {p}). Where they do not, the error rates of this page do not hold.",
                p=probability(document.part("same_source").number("p")),
            )
        )
    test, total = document.part("model_test"), len(document.parts("items"))
    if not found(document) and test.whole("rank") == 1 and (test.number("p") or 1.0) <= 0.05:
        said.append(
            say(
                "Yet the model as a whole lies nearer to its training set than to any of {sets} other sets (p = {p}): "
                "it keeps something of what it was trained on, though no single output can be named.",
                sets=count(test.whole("sets")),
                p=probability(test.number("p")),
            )
        )
    if not found(document) and smallest is not None and smallest > total:
        said.append(
            say(
                "This audit could not have named anything: for {total} outputs there are too few held-out data.",
                total=count(total),
            )
        )
    elif not found(document) and smallest is not None and smallest > 1 and not texts:
        said.append(
            say(
                "This is no proof of absence: with so many held-out images, fewer than {smallest} copies among these "
                "images could not have been named.",
                smallest=count(smallest),
            )
        )
    elif not found(document) and smallest is not None and smallest > 1:
        said.append(
            say(
                "This is no proof of absence: with so many held-out texts, fewer than {smallest} copies among these "
                "texts could not have been named.",
                smallest=count(smallest),
            )
        )
    return said


def as_a_whole(say: Say, document: Part) -> str:
    """Return what the test of the model as a whole says."""
    test = document.part("model_test")
    p, rank, sets = test.number("p"), test.whole("rank"), len(test.numbers("of_unseen")) or test.whole("sets")
    if p is None or rank is None or not sets:
        return say("Not testable here: {reason}", reason=reason(say, test.text("reason")))
    params = {
        "rank": rank,
        "all": sets + 1,
        "sets": sets,
        "p": probability(p),
        "floor": probability(test.number("floor")),
    }
    if rank == 1:
        return say(
            "The training set lies nearer to the model's output than every one of {sets} sets of the same size that "
            "were not used in training: p = {p}. The smallest value that {sets} sets can give is {floor}.",
            **params,
        )
    return say(
        "By nearness to the model's output the training set is number {rank} of {all} sets of the same size, the "
        "others not used in training: p = {p}. The smallest value that {sets} sets can give is {floor}.",
        **params,
    )


def share(say: Say, document: Part) -> str:
    """Return how much of the model's output is copied, at the least."""
    decision = document.part("decision")
    least, confidence = decision.number("at_least"), percent(decision.number("confidence"))
    if least is None:
        return say("The share of copies was not estimated.")
    if least <= 0:
        return say(
            "How large the share of copies is at the least cannot be said with {confidence} confidence.",
            confidence=confidence,
        )
    if document.text("kind") == "texts":
        return say(
            "With {confidence} confidence at least {least} of the texts that this model writes in this way hold "
            "copies.",
            confidence=confidence,
            least=percent(least),
        )
    return say(
        "With {confidence} confidence at least {least} of the images that this model makes in this way are copies.",
        confidence=confidence,
        least=percent(least),
    )


def probability(p: float | None) -> str:
    """Return a p-value as it is printed."""
    return decimal(p, 2)


def transform(say: Say, change: Part) -> str:
    """Return how an image was moved and lit to lie best on its training image; empty where it was not."""
    if not change:
        return ""
    words = [say("mirrored")] if change.flag("mirror") or change.whole("mirror") == 1 else []
    across, down = change.whole("dx") or 0, change.whole("dy") or 0
    words += [say("moved by {dx}, {dy} px", dx=across, dy=down)] if across or down else []
    gain, offset = change.number("gain"), change.number("offset")
    lit = gain is not None and (abs(gain - 1) > 0.005 or abs(offset or 0) > 0.002)
    words += [say("brightness × {gain}, offset {offset}", gain=decimal(gain), offset=decimal(offset, 2))] if lit else []
    words += [say("then RMSE {rmse}", rmse=decimal(rmse))] if (rmse := change.number("rmse")) is not None else []
    return say(", ").join(words)


def reason(say: Say, slug: str) -> str:
    """Return why the model as a whole was not tested; a slug without a sentence is returned as it stands."""
    known = {
        "no-unseen-sets": say("no sets of data were kept out of training to compare with."),
        "too-few-unseen": say("too few data were kept out of training to make sets of the training set's size."),
        "no-held-out": say("there are no held-out data."),
        "single-image": say("the training set is a single image."),
        "": say("the document gives no reason."),
    }
    return known.get(slug, slug)


def limit(say: Say, slug: str, document: Part) -> str:
    """Return a limit's sentence; a slug without one is returned as it stands."""
    return _limits(say, document).get(slug, slug)


def _limits(say: Say, document: Part) -> dict[str, str]:
    smallest = count(document.part("decision").whole("smallest_flaggable"))
    return {
        "pixels-not-infringement": say(
            "Near in pixels is not the same as an infringement. Whether a copy infringes a right is for a court to say."
        ),
        "no-proof-of-absence": say(
            "That nothing was found proves no absence. What can be found depends on how many outputs were drawn, on "
            "the held-out data and on the changes that were searched; at least {smallest} copies were needed here.",
            smallest=smallest,
        ),
        "held-out-source": say(
            "The p-values need held-out data from the same source as the training data, never used in training."
        ),
        "source-differs": say(
            "The held-out data differ from the training data more than chance explains, so the error rates may not "
            "hold."
        ),
        "dependent-outputs": say(
            "Outputs of one model resemble each other. The correction for many tests (Benjamini and Hochberg) holds "
            "for such positive dependence, and was checked over repeated runs, not proved for every model."
        ),
        "own-duplicates": say(
            "Data sets hold near-duplicates of their own. An output may be named because it resembles an image that "
            "is many times in the data, and an unseen real image may be named as well."
        ),
        "unlike-source": say(
            "Outputs that are blurred, empty or of few motifs lie somewhat nearer to any images, copied or not. The "
            "test of the model as a whole, which compares with sets that were not used, is not misled by this."
        ),
        "unaligned": say(
            "Copies that were mirrored, moved or lit otherwise were not searched for; this audit does not see them."
        ),
        "aligned-reach": say(
            "Changed copies were searched for among mirrored ones, shifts of up to 2 pixels, and changes of brightness "
            "and contrast. Cropped, turned or blurred copies are not seen."
        ),
        "resized": say("The images were brought to one size before they were compared; finer detail was not compared."),
        "same-label": say(
            "Only training images of the same label were searched. Copies of an image with another label are missed."
        ),
        "approximate-index": say(
            "The search was approximate: a neighbour may be missed. Held-out images were searched in the same way, so "
            "this makes copies harder to find and adds no false ones."
        ),
        "overlap-kept": say(
            "Some held-out images stand in the training data as well. They were kept, which makes copies harder to "
            "find."
        ),
        "few-calibration": say(
            "There are few held-out data, so small shares of copies cannot be named whatever the model does."
        ),
        "model-not-tested": say("The model as a whole could not be tested, only its outputs one by one."),
        "model-subset": say(
            "The model as a whole was tested with a part of the training set, drawn by the digests of the data, "
            "because too few data were kept out of training for the whole of it."
        ),
        "subject-unbound": say(
            "The outputs were handed over. That they come from the model named here is the word of who handed "
            "them over."
        ),
        "one-sampler": say(
            "The finding is about outputs made with these settings and seeds. Other prompts or settings may copy more "
            "or less."
        ),
        "verbatim-only": say("Only literal passages were searched. Paraphrases and translations are not seen."),
        "windows-clustered": say(
            "Windows of one held-out document resemble each other more than those of two. The p-values are exact for "
            "outputs that come in such clusters, and somewhat too small for others."
        ),
        "overlap-left-out": say("Some held-out texts stand in the training texts as well, and were left out."),
        "short-texts": say("Some texts are too short to hold a passage that could be told from chance."),
        "logprob-model": say(
            "The probabilities of passages are those that the model or its server reported; they were not recomputed."
        ),
        "near-copies-approximate": say("Near copies were searched by sketches (MinHash), which may miss some."),
    }
