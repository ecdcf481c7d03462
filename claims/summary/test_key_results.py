"""What a machine-written summary calls key results."""

from eosbench import Claim, Source

beats_state_of_the_art = Claim(
    "summary/beats-state-of-the-art",
    source=Source("arxivlens-summary", "Key Results"),
    printed=(
        "The proposed method outperforms existing state-of-the-art methods in terms of convergence rate and accuracy "
        "on several benchmark datasets."
    ),
    expected="out of scope",
    out_of_scope="nothing in the abstract that it summarizes proposes a method or compares one",
)


adapts_to_structure = Claim(
    "summary/adapts-to-structure",
    source=Source("arxivlens-summary", "Key Results"),
    printed="The method is able to adapt to changing problem structures and learn effective regularization strategies.",
    expected="out of scope",
    out_of_scope="nothing in the abstract that it summarizes adapts to a structure or learns a strategy",
)
