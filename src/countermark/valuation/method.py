"""What a valuation record says of itself, in every language. It is part of what the office signs."""

from __future__ import annotations

METHOD = {
    "en": (
        "This record is no opinion on value. It is the input for one. For the cost approach it holds what the owner "
        "declares that the title cost, signed by the owner; the office has not examined it, and the evidence is known "
        "by its digest alone. For the income approach it holds what the title earned on the market of this office, "
        "line by line, with the platform's fees, the royalties of ancestors, and what is withheld; the totals are the "
        "sums of the lines. For the market approach it holds the prices at which the title, licences to it and copies "
        "of its file were sold.\n"
        "Every line names its transaction and can be compared with the ledger. Payments outside the market, such as "
        "those for grants that the holder gave without it, are not in the record; their number is. What a licensee "
        "reports as revenue is the licensee's word. The price of a title's own sale went to its seller. Amounts are "
        "as of each payment, without interest, inflation or taxes, and periods are in UTC. Whether the title can be "
        "recognized as an asset, at what amount, and how it is amortized is for the owner and its auditor to decide "
        "under the accounting rules that apply."
    ),
    "zh": (
        "本记录不是价值意见，而是形成价值意见的输入。供成本法使用的，是权属持有人申报并签名的成本；登记机构未对其进行审查，"
        "相关凭证仅以摘要形式记载。供收益法使用的，是该权属在本机构市场上的逐笔收入，以及平台费用、付给上级模型的版税和被扣留的款项；"
        "合计为各笔之和。供市场法使用的，是该权属、其许可及其文件副本的成交价格。\n"
        "每一笔均载明其交易，可与账本核对。市场之外的付款（例如持有人未经市场给予的授权的价款）不在本记录之内，其数量则载明于此。"
        "被许可方报告的收入系被许可方的陈述。权属本身的出售价款归卖方所有。"
        "金额为各次付款时的金额，不含利息、通货膨胀或税费，期间以 UTC 计。"
        "该权属能否确认为资产、以何金额确认以及如何摊销，由权属持有人及其审计师依适用的会计准则决定。"
    ),
}
