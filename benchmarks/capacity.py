"""What a tracked step takes on 1, 8 and 64 cards: prints the table of docs/scale.md, computed from what was measured.

    python benchmarks/capacity.py

Nothing is run. The counts were measured on a CPU (docs/performance.md, docs/scale.md); what a card does and how fast it
is connected is assumed. A vector is p numbers in float32.
"""

from dataclasses import dataclass

from tabulate import tabulate

# Measured, in vectors beside parameters and data, shared by all cards: what the compiled program holds.
COLD_VECTORS = 72  # `sharpness`, 15.3 MB at p = 53,097 on one device, and an eighth of it on each of eight
TRACKED_VECTORS = 46  # the training loop with the probe `Sharpness`, over the loop without, at p = 5,007,210
# Measured: of a step at the edge.
PRODUCTS = 3.31  # the mean of 100 steps, cold start and audit included
GRADIENTS_PER_PRODUCT = 2.0  # 1.86 to 2.34
MESSAGES_PER_PRODUCT = 3  # vectors that pass a card: gathered once, and twice in the sum

# Counted: of a replicated network, what each card holds whole. Parameters, gradient, one tangent and one product.
WHOLE_VECTORS = 4

# Assumed, of a card and of what is between cards.
CARD_BYTES = 80e9
ACTIVATION_BYTES = 10e9  # `MicroBatched` keeps them to that
FLOPS = 25e12  # of float32 products with TF32 off, some 40 % of what a maker promises
BYTES_PER_SECOND = {1: float("inf"), 8: 200e9, 64: 25e9}  # within a host, and between hosts

CARDS = (1, 8, 64)


@dataclass(frozen=True)
class Training:
    """A network and what a step looks at; `flops` is of the gradient at one example: three forward passes."""

    name: str
    p: float
    examples: int
    flops: float

    def vector(self) -> float:
        """Bytes."""
        return 4 * self.p

    def memory(self, cards: int, vectors: float) -> float:
        """Bytes on each card, with so many vectors over all of them."""
        return vectors * self.vector() / cards + WHOLE_VECTORS * self.vector() + ACTIVATION_BYTES

    def gradient_seconds(self, cards: int) -> float:
        return self.examples * self.flops / (cards * FLOPS)

    def message_seconds(self, cards: int) -> float:
        """Of one product."""
        return MESSAGES_PER_PRODUCT * self.vector() * (cards - 1) / cards / BYTES_PER_SECOND[cards]

    def seconds(self, cards: int) -> float:
        """Of a tracked step: a gradient, and the products."""
        product = GRADIENTS_PER_PRODUCT * self.gradient_seconds(cards) + self.message_seconds(cards)
        return self.gradient_seconds(cards) + PRODUCTS * product


def vgg16() -> Training:
    """For images of 32 x 32 pixels, with one linear layer: its convolutions counted."""
    channels, side, p, multiplications = 3, 32, 0, 0
    for width, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            p += (9 * channels + 1) * width
            multiplications += 9 * channels * width * side**2
            channels = width
        side //= 2
    p, multiplications = p + 513 * 10, multiplications + 512 * 10
    return Training("VGG-16, CIFAR-10 (50,000)", p, 50_000, 6 * multiplications)


def language_model(name: str, p: float) -> Training:
    """A transformer: two operations for each parameter and token forward, attention not counted."""
    return Training(f"{name}, 2^19 tokens", p, 2**19, 6 * p)


TRAININGS = (
    vgg16(),
    Training("ResNet-50, ImageNet (1,281,167)", 25.6e6, 1_281_167, 6 * 4.1e9),
    language_model("124 M", 124e6),
    language_model("1e9", 1e9),
)


def table() -> str:
    rows = []
    for training in TRAININGS:
        for cards in CARDS:
            tracked, cold = (training.memory(cards, vectors) for vectors in (TRACKED_VECTORS, COLD_VECTORS))
            seconds = training.seconds(cards)
            fits = "both" if cold <= CARD_BYTES else "tracking" if tracked <= CARD_BYTES else "neither"
            sent = PRODUCTS * training.message_seconds(cards) / seconds
            times = (f"{seconds / training.gradient_seconds(cards):.1f}", f"{sent:.1%}")
            memory = (f"{tracked / 1e9:.1f}", f"{cold / 1e9:.1f}", fits)
            rows.append([training.name, cards, *memory, f"{seconds:.3g}", *times])
    headers = ["network, examples", "cards", "tracked, GB", "cold, GB", "fits", "s a step", "of its gradients", "sent"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    print(table())
