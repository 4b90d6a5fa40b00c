"""The cases of compare.py: who takes turns at what work, and what must come out."""

import dataclasses
import os

MPIRUN = ("mpirun --oversubscribe --bind-to none --mca btl self,vader "
          "--mca oob_tcp_if_include lo -np").split()
PROGRAMS = os.environ.get("LEXTRA_BUILD_DIR", "build") + "/tests/benchmarks/lextra_"
PEERS = "tests/benchmarks/peers/"
PYTHON = "PYTHON"  # stands for the interpreter that has PyTorch


@dataclasses.dataclass(frozen=True)
class Model:
    layers: int
    width: int
    heads: int
    length: int
    batch: int
    segment: int = 4096  # tokens that the scorer holds at once
    vocabulary: int = 320

    @property
    def block(self):
        return self.length // 2

    @property
    def parameters(self):
        """With biases and norms, the tied embedding once."""
        layer = 12 * self.width ** 2 + 13 * self.width
        return self.vocabulary * self.width + self.layers * layer + 2 * self.width

    @property
    def tokens(self):
        """Of a training step."""
        return self.batch * self.length

    def training_flops(self, attention=6):
        """Of a step: 6 N + 6 L C T a token; attention=12: the PaLM formula."""
        return self.tokens * (6 * self.parameters +
                              attention * self.layers * self.width * self.length)

    def scoring_flops(self, tokens, keys):
        """2 N + 4 L C keys a token; keys: that a query sees, on average."""
        return tokens * (2 * self.parameters + 4 * self.layers * self.width * keys)

    def product_flops(self, tokens):
        """Of the matrix products of a forward pass."""
        return 2 * tokens * (12 * self.layers * self.width ** 2 + self.vocabulary * self.width)

    def overrides(self, threads):
        return [f"model.num_layers={self.layers}", f"model.hidden_size={self.width}",
                f"model.num_heads={self.heads}", f"model.training_length={self.length}",
                f"model.vocab_size={self.vocabulary}", f"data.global_batch_size={self.batch}",
                f"evaluation.segment_tokens={self.segment}", f"parallel.num_threads={threads}"]

    def options(self, threads):
        return ["--layers", str(self.layers), "--width", str(self.width), "--heads",
                str(self.heads), "--length", str(self.length), "--batch", str(self.batch),
                "--vocabulary", str(self.vocabulary), "--threads", str(threads)]

    def __str__(self):
        return (f"{self.layers} layers x {self.width}, {self.heads} heads, vocabulary "
                f"{self.vocabulary}, {self.parameters / 1e6:.1f}M parameters, fp32")


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    command: list
    tokens: int  # of a step
    flops: float  # of a step
    ranks: int = 1
    threads: int = 2
    steps: int = 1  # of a turn
    warm_up: int = 3  # steps
    work: str = ""  # contenders with the same must come to the same result


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median over the rounds of `of`'s figure over that of `over`: a contender, the
    better of several, or a number."""
    of: str
    over: object
    unit: str  # "tokens/s", "ms", or what contenders report: "peak_rss_mb", "bytes_sent"
    goal: str  # ">= 1.3", "<= 1", "== 1"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    about: str
    unit: str  # of the table and of the JSON
    contenders: list
    ratios: list
    rounds: int


def lextra(program, model, *arguments, ranks=1, threads=2):
    launcher = [*MPIRUN, str(ranks)] if ranks > 1 else []
    return [*launcher, PROGRAMS + program, *model.overrides(threads), *arguments]


def training(name, model, *arguments, ranks=1, threads=2, work="train"):
    return Contender(name, lextra("train_speed", model, *arguments, ranks=ranks, threads=threads),
                     model.tokens, model.training_flops(), ranks, threads, work=work)


def scoring(name, model, tokens, *arguments, ranks=1, threads=2, steps=1, warm_up=1):
    causal = "--mask=CAUSAL" in arguments
    keys = tokens / 2 if causal else 1.5 * model.block
    command = lextra("score_speed", model, f"--tokens={tokens}", *arguments, ranks=ranks,
                     threads=threads)
    return Contender(name, command, tokens, model.scoring_flops(tokens, keys), ranks, threads,
                     steps, warm_up, "causal" if causal else f"bca {tokens}")


def pytorch_training(name, model, *arguments):
    return Contender(name, [PYTHON, "-B", PEERS + "training_speed.py", *model.options(2),
                            *arguments], model.tokens, model.training_flops(), work="train")


def pytorch_scoring(name, model, tokens, *arguments):
    return Contender(name, [PYTHON, "-B", PEERS + "scoring_speed.py", *model.options(2),
                            "--tokens", str(tokens), *arguments], tokens,
                     model.scoring_flops(tokens, 1.5 * model.block), work=f"bca {tokens}")


def gemm_ceiling(model, forward=False):
    tokens = model.segment if forward else model.tokens
    arguments = [f"--tokens={tokens}"] + ["--forward"] * forward
    return Contender("gemm_ceiling", lextra("gemm_ceiling", model, *arguments), tokens,
                     model.product_flops(tokens) * (1 if forward else 3))


def training_case(name, model, over_eager, over_better, rounds):
    palm = model.training_flops(attention=12) / model.training_flops() - 1
    ratios = []
    for contender in ("lextra", "lextra_data2"):
        ratios.append(Ratio(contender, "pytorch_eager", "tokens/s", over_eager))
        ratios.append(Ratio(contender, ("pytorch_eager", "pytorch_compiled"), "tokens/s",
                            over_better))
    ratios += [Ratio("lextra_data2", "lextra", "tokens/s", ">= 0.95"),
               Ratio("lextra_tensor2", "lextra", "tokens/s", ">= 0.85"),
               Ratio("lextra", "pytorch_eager", "peak_rss_mb", "<= 1")]
    return Case(
        name, f"a training step: {model}; {model.batch} x {model.length} = {model.tokens} "
        f"tokens a step, xPos, AdamW, clipping; FLOPs a token 6 N + 6 L C T "
        f"(6 N + 12 L C T is {100 * palm:.1f} % more)", "ms",
        [training("lextra", model),
         training("lextra_data2", model, ranks=2, threads=1),
         training("lextra_tensor2", model, "parallel.tensor=2", ranks=2, threads=1),
         pytorch_training("pytorch_eager", model),
         pytorch_training("pytorch_compiled", model, "--compile"),
         gemm_ceiling(model)], ratios, rounds)


def positions_case(model):
    return Case(
        "positions_2.7m", f"what xPos costs of a training step: {model}; {model.tokens} tokens "
        "a step", "ms",
        [training("lextra", model, work="xpos"),
         training("lextra_no_positions", model, "model.position_encoding=NONE", work="none")],
        [Ratio("lextra", "lextra_no_positions", "ms", "<= 1.02")], rounds=21)


def scoring_cases(model, k):
    """k: tokens in 1 k."""
    about = (f"{model}; blocks of {model.block}, segments of {model.segment} tokens, one document; "
             "FLOPs a token 2 N + 6 L C h (plain causal: 2 N + 2 L C T)")
    n = 16 * k
    bca = scoring("lextra", model, n)
    ceiling = gemm_ceiling(model, forward=True)
    yield Case(
        "score_16k_vs_1m", f"cost and memory against length: {about}", "tokens/s",
        [scoring("lextra_16k", model, n, steps=8), scoring("lextra_64k", model, 64 * k, steps=2),
         scoring("lextra_1m", model, 1024 * k, warm_up=0)],
        [Ratio("lextra_1m", "lextra_16k", "tokens/s", ">= 0.95"),
         Ratio("lextra_1m", "lextra_64k", "peak_rss_mb", "<= 1.1")], rounds=5)
    messages = 64 * k // (2 * model.segment) * model.layers  # of rank 0: one a layer and round
    yield Case(
        "score_2ranks", f"twice the document on two ranks: {about}", "ms",
        [scoring("lextra_1rank", model, 32 * k, threads=1),
         scoring("lextra_2ranks", model, 64 * k, "parallel.context=2", ranks=2, threads=1)],
        [Ratio("lextra_1rank", "lextra_2ranks", "ms", ">= 0.9"),
         Ratio("lextra_2ranks", messages * 2 * model.block * model.width * 4, "bytes_sent",
               "== 1")], rounds=9)
    yield Case(
        "bca_vs_causal_16k", f"BCA against plain causal attention of {n} tokens: {about}",
        "tokens/s", [bca, scoring("lextra_causal", model, n, "--mask=CAUSAL")],
        [Ratio("lextra", "lextra_causal", "tokens/s", ">= 3")], rounds=5)
    yield Case(
        "bca_vs_mask", "BCA against one call of SDPA with an explicit mask over windows "
        f"[h, 2h] of keys and values, {n} tokens: {about}", "tokens/s",
        [bca, pytorch_scoring("pytorch_one_call", model, n),
         pytorch_scoring("pytorch_one_call_compiled", model, n, "--compile"), ceiling],
        [Ratio("lextra", "pytorch_one_call", "tokens/s", ">= 1.5"),
         Ratio("lextra", "pytorch_one_call_compiled", "tokens/s", "")], rounds=9)
    yield Case(
        "bca_vs_fork", "BCA against an equally written PyTorch model of the public torchscale "
        f"fork's way (peers/blockwise_attention.py), {n} tokens: {about}", "tokens/s",
        [bca, pytorch_scoring("pytorch_fork", model, n, "--attention", "stepwise"), ceiling],
        [Ratio("lextra", "pytorch_fork", "tokens/s", ">= 2")], rounds=9)
    yield Case(
        "forward_vs_training", f"scoring against a training step: {about}", "tokens/s",
        [bca, training("lextra_training", model), ceiling],
        [Ratio("lextra", "lextra_training", "tokens/s", ">= 2.5")], rounds=9)


def all_cases(quick):
    """By name. quick: a toy model, to see that everything runs."""
    small, large, k = Model(6, 192, 6, 256, 16), Model(8, 384, 6, 512, 8), 1024
    if quick:
        small = large = Model(2, 64, 2, 32, 4, segment=64)
        k = 16
    cases = [training_case("train_2.7m", small, ">= 1.3", ">= 1.1", rounds=15),
             training_case("train_14.3m", large, ">= 1.15", ">= 1.15", rounds=7),
             positions_case(small), *scoring_cases(small, k)]
    return {case.name: case for case in cases}
