"""The headlines of the experiments in Chinese, for README.zh-CN.md."""

from experiments.compare import headlines, predictions

TRANSFORMS = {
    "stretching": "对比度拉伸",
    "HE joint": "三通道联合 HE",
    "HE channel": "逐通道 HE",
    "HE value": "V 通道 HE",
    "AHE": "AHE",
    "CLAHE": "CLAHE",
}
WAYS = {
    "training only": "只用于训练",
    "both sides": "训练和测试都用",
    "random, p = 0.5": "训练时随机使用，p = 0.5",
}
VERDICTS = {"better": "更好", "worse": "更差", "not distinguishable": "无法区分"}
UNDER = {
    "contrast": "，测试图像对比度降低",
    "brightness": "，测试图像过亮",
    "fog": "，测试图像有雾",
    "gamma": "，测试图像经伽马校正变暗",
    None: "",
}


def chinese_page(records: list[dict]) -> str:
    """What `make results` puts into the Chinese README; the tables stay in the English one."""
    return "\n\n".join(
        [
            *map(_headline, headlines(records)),
            *_prediction(records),
            "全部表格、图，以及数据与运行环境的说明（英文）："
            "[README.md](README.md#does-it-help)、[results/report.md](results/report.md)。",
        ]
    )


def _headline(each):
    counted = "，".join(f"{word} {each.verdicts[key]} 种" for key, word in VERDICTS.items())
    return (
        f"**研究 {each.study}{UNDER[each.corruption]}，{each.images:,} 张图像**："
        f"{each.verdicts.total()} 种对比度用法与不用相比，{counted}。"
        f"最高：{_sentence(each.highest)}。最低：{_sentence(each.lowest)}。"
    )


def _sentence(row):
    transform, _, way = row.label.partition(", ")
    label = f"{TRANSFORMS[transform]}（{WAYS[way]}）"
    interval = f"95% 置信区间 {row.low:+.1f} 至 {row.high:+.1f}，{row.seeds} 个种子"
    if row.verdict == "not distinguishable":
        return f"{label}，与不用时无法区分（{row.difference:+.1f} 个百分点，{interval}）"
    size = f"{'高' if row.verdict == 'better' else '低'} {abs(row.difference):.1f} 个百分点"
    held = "" if row.after_holm else "；经 Holm 校正后不再成立"
    return f"{label}，准确率比不用时{size}（{interval}{held}）"


def _prediction(records):
    """A list of one paragraph, or of none while there is nothing to say."""
    sentences = []
    for images, found in predictions(records).items():
        (overall, reach), (within, reach_within) = found["overall"], found["within"]
        sentences.append(
            f"{images:,} 张图像时，距离与准确率损失之间的秩相关系数，在所有损坏和严重程度上合计为 "
            f"{overall:.2f} ± {reach:.2f}，在同一损坏、同一严重程度下的各变换之间为 "
            f"{within:.2f} ± {reach_within:.2f}（{found['seeds']} 个种子）"
        )
    return [f"**研究 C 对研究 B 的预示**：{'；'.join(sentences)}。"] if sentences else []
