"""Recurrent model classes of public libraries with random weights, by name: what `library_models.py` exports.

A library is imported only where one of its classes is made. Where a library's `forward` takes what is no tensor, or
gives a report beside its results, a module of a few lines calls it as its users do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class LibraryClass:
    """A class of a library: how to make it, and its inputs at a batch and a time.

    `library` is the distribution's name, `sizes` pairs of batch and time other than the example's.
    """

    library: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int, int], Inputs]
    example: tuple[int, int] = (2, 9)
    sizes: tuple[tuple[int, int], ...] = ((1, 3), (3, 7), (4, 50))

    def module(self) -> nn.Module:
        """The module in evaluation mode, with seeded weights."""
        torch.manual_seed(0)
        with torch.no_grad():  # weights of the old weight_norm can be copied then
            return self.make().eval()

    def seeded_inputs(self, batch: int, time: int) -> Inputs:
        """Inputs of this size, always the same ones."""
        torch.manual_seed(1000 * batch + time)
        return self.inputs(batch, time)


def _of(path: str, *arguments: Any, **keywords: Any) -> Callable[[], nn.Module]:
    """A maker of `package.module:Class` with these arguments."""

    def make() -> nn.Module:
        module, _, name = path.partition(":")
        made: nn.Module = getattr(import_module(module), name)(*arguments, **keywords)
        return made

    return make


def _frames(name: str, features: int) -> Callable[[int, int], Inputs]:
    return lambda batch, time: {name: torch.randn(batch, time, features)}


def _channels(name: str, channels: int) -> Callable[[int, int], Inputs]:
    return lambda batch, time: {name: torch.randn(batch, channels, time)}


def _wave(name: str, channels: int, start: int, hop: int) -> Callable[[int, int], Inputs]:
    return lambda batch, time: {name: torch.randn(batch, channels, start + hop * time)}


def _tokens(name: str, words: int) -> Callable[[int, int], Inputs]:
    return lambda batch, time: {name: torch.randint(1, words, (batch, time))}


def _lengths(batch: int, time: int) -> Tensor:
    """Lengths in falling order, the first of them whole."""
    return torch.tensor([max(1, time - 2 * row) for row in range(batch)])


class _WithLengths(nn.Module):
    """An encoder that gives results, their lengths and its states."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.module(x, lengths)[0]


class _Separator(nn.Module):
    """A separator of ESPnet: a list of masked spectra, lengths, and a mapping of masks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        masked, _, _ = self.module(x, lengths)
        return masked[0], masked[1]


class _TaggedStates(nn.Module):
    """A language model of ESPnet whose states are a pair."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, h: Tensor, c: Tensor) -> Any:
        scores, (hn, cn) = self.module(tokens, (h, c))
        return scores, hn, cn


class _Highway(nn.Module):
    """A highway LSTM of stanza over a packed sequence."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        output, _ = self.module(packed, lengths)
        return nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=x.size(1))[0]


def _highway() -> nn.Module:
    return _Highway(_of("stanza.models.common.hlstm:HighwayLSTM", 16, 24, num_layers=2, batch_first=True)())


class _Attention(nn.Module):
    """A decoder of stanza: an LSTM cell by hand with attention over a context."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, h: Tensor, c: Tensor, context: Tensor) -> Any:
        output, (hn, cn) = self.module(x, (h, c), context)
        return output, hn, cn


class _Recurrent(nn.Module):
    """A recurrent policy memory of rsl_rl with its states given."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.rnn: Any = module.rnn

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        output, (hn, cn) = self.rnn(x, (h, c))
        return output, hn, cn


class _Policy(nn.Module):
    """The actor of a recurrent PPO of sb3-contrib, one step: observation and states to action and states."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, h: Tensor, c: Tensor) -> Any:
        features, (hn, cn) = self.policy.lstm_actor(self.policy.extract_features(obs).unsqueeze(0), (h, c))
        latent = self.policy.mlp_extractor.forward_actor(features.squeeze(0))
        return self.policy.action_net(latent), hn, cn


def _policy() -> nn.Module:
    import gymnasium
    import numpy as np

    box = gymnasium.spaces.Box(-1, 1, (6,), np.float32)
    make: Any = _of(
        "sb3_contrib.common.recurrent.policies:RecurrentActorCriticPolicy",
        box,
        box,
        lambda _: 1e-3,
        lstm_hidden_size=24,
    )
    return _Policy(make())


def _state(layers: int, size: int) -> Callable[[int], Tensor]:
    return lambda batch: torch.randn(layers, batch, size)


def _tacotron() -> nn.Module:
    class Encoder(nn.Module):
        """Embedding and encoder of a Tacotron 2."""

        def __init__(self) -> None:
            super().__init__()
            whole: Any = _of("torchaudio.models:Tacotron2")()
            self.embedding, self.encoder = whole.embedding, whole.encoder

        def forward(self, tokens: Tensor, lengths: Tensor) -> Any:
            return self.encoder(self.embedding(tokens).transpose(1, 2), lengths)

    return Encoder()


def _deepar() -> nn.Module:
    class Network(nn.Module):
        """Distribution arguments and states of a DeepAR."""

        def __init__(self) -> None:
            super().__init__()
            self.model: Any = _of(
                "gluonts.torch.model.deepar.module:DeepARModel",
                "D",
                20,
                5,
                cardinality=[4],
                lags_seq=[1, 2, 7],
                hidden_size=24,
            )()

        def forward(
            self, category: Tensor, static: Tensor, times: Tensor, target: Tensor, observed: Tensor, future: Tensor
        ) -> Any:
            parameters, scale, _, _, state = self.model.unroll_lagged_rnn(
                category, static, times, target, observed, future[:, :1]
            )
            return parameters, scale, state

    return Network()


def _deepar_inputs(batch: int, _: int) -> Inputs:
    return {
        "category": torch.randint(0, 4, (batch, 1)),
        "static": torch.randn(batch, 1),
        "times": torch.randn(batch, 27, 1),
        "target": torch.rand(batch, 27),
        "observed": torch.ones(batch, 27),
        "future": torch.randn(batch, 5, 1),
    }


def _voice_encoder() -> nn.Module:
    encoder = import_module("resemblyzer.voice_encoder").VoiceEncoder
    made: nn.Module = encoder("cpu", verbose=False)
    return made


class _Forecaster(nn.Module):
    """A forecaster of darts without covariates: its prediction, and its states where it gives them."""

    def __init__(self, module: nn.Module, as_input: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.as_input = module, as_input

    def forward(self, x: Tensor) -> Any:
        result = self.module(self.as_input(past_target=x))
        return result.prediction if result.state is None else (result.prediction, result.state)


def _forecaster(path: str, **keywords: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        as_input = import_module("darts.utils.data.torch_datasets.utils").PLModuleInput
        return _Forecaster(_of(path, **_DARTS, **keywords)(), as_input)

    return make


_DARTS = {"input_chunk_length": 12, "output_chunk_length": 4, "train_sample_shape": None, "nr_params": 1}

CLASSES: dict[str, LibraryClass] = {
    "torchaudio DeepSpeech": LibraryClass(
        library="torchaudio",
        make=_of("torchaudio.models:DeepSpeech", 20, 32, 12),
        inputs=lambda batch, time: {"x": torch.randn(batch, 1, time, 20)},
    ),
    "torchaudio WaveRNN": LibraryClass(
        library="torchaudio",
        make=_of(
            "torchaudio.models:WaveRNN",
            [5, 4, 3],
            16,
            60,
            n_res_block=2,
            n_rnn=32,
            n_fc=32,
            n_freq=20,
            n_hidden=16,
            n_output=16,
        ),
        inputs=lambda batch, time: {
            "waveform": torch.randn(batch, 1, 60 * time),
            "specgram": torch.randn(batch, 1, 20, time + 4),
        },
        example=(2, 5),
        sizes=((1, 3), (3, 7), (4, 20)),
    ),
    "torchaudio Tacotron2 encoder": LibraryClass(
        library="torchaudio",
        make=_tacotron,
        inputs=lambda batch, time: {"tokens": torch.randint(0, 148, (batch, time)), "lengths": _lengths(batch, time)},
    ),
    "torchaudio RNN-T predictor": LibraryClass(
        library="torchaudio",
        make=_of("torchaudio.models.rnnt:_Predictor", 60, 32, 24, 2, 24, lstm_layer_norm=True),
        inputs=lambda batch, time: {
            "input": torch.randint(0, 60, (batch, time)),
            "lengths": torch.full((batch,), time, dtype=torch.int32),
        },
    ),
    "demucs Demucs": LibraryClass(
        library="demucs",
        make=_of(
            "demucs.demucs:Demucs",
            ["drums"],
            channels=8,
            depth=3,
            lstm_layers=2,
            resample=False,
            dconv_mode=0,
            normalize=False,
        ),
        inputs=_wave("mix", 2, 2048, 512),
    ),
    "demucs BLSTM": LibraryClass(
        library="demucs", make=_of("demucs.demucs:BLSTM", 16, 2, skip=True), inputs=_channels("x", 16)
    ),
    "denoiser Demucs": LibraryClass(
        library="denoiser",
        make=_of("denoiser.demucs:Demucs", hidden=8, depth=3, resample=1, causal=True),
        inputs=_wave("mix", 1, 1024, 64),
    ),
    "speechbrain CRDNN": LibraryClass(
        library="speechbrain",
        make=lambda: import_module("speechbrain.lobes.models.CRDNN").CRDNN(
            input_shape=[4, 10, 40],
            cnn_blocks=2,
            cnn_channels=[8, 16],
            rnn_class=import_module("speechbrain.nnet.RNN").GRU,
            rnn_layers=2,
            rnn_neurons=24,
            dnn_blocks=1,
            dnn_neurons=16,
        ),
        inputs=_frames("x", 40),
    ),
    "speechbrain LiGRU": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.nnet.RNN:LiGRU", 24, [4, 10, 20], num_layers=2, bidirectional=True),
        inputs=_frames("x", 20),
    ),
    "speechbrain LSTM, relative lengths": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.nnet.RNN:LSTM", 24, input_size=20, num_layers=2, bidirectional=True),
        inputs=lambda batch, time: {
            "x": torch.randn(batch, time, 20),
            "lengths": torch.tensor([max(1, time - 2 * ((row + 1) % batch)) / time for row in range(batch)]),
        },
        example=(2, 8),
        sizes=((1, 1), (3, 16), (4, 32)),
    ),
    "speechbrain QuasiRNN": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.nnet.RNN:QuasiRNN", 24, input_size=20, num_layers=2),
        inputs=_frames("x", 20),
    ),
    "speechbrain RNNLM": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.lobes.models.RNNLM:RNNLM", 50, 16, rnn_neurons=24, dnn_neurons=16),
        inputs=_tokens("x", 50),
    ),
    "speechbrain MetricGAN generator": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.lobes.models.MetricGAN:EnhancementGenerator"),
        inputs=lambda batch, time: {"x": torch.rand(batch, time, 257), "lengths": torch.ones(batch)},
    ),
    "speechbrain Tacotron2 encoder": LibraryClass(
        library="speechbrain",
        make=_of("speechbrain.lobes.models.Tacotron2:Encoder", 2, 32),
        inputs=lambda batch, time: {"x": torch.randn(batch, 32, time), "input_lengths": _lengths(batch, time)},
    ),
    "stanza HighwayLSTM": LibraryClass(
        library="stanza",
        make=_highway,
        inputs=lambda batch, time: {"x": torch.randn(batch, time, 16), "lengths": _lengths(batch, time)},
    ),
    "stanza LSTMAttention": LibraryClass(
        library="stanza",
        make=lambda: _Attention(_of("stanza.models.common.seq2seq_modules:LSTMAttention", 12, 16)()),
        inputs=lambda batch, time: {
            "x": torch.randn(batch, 1, 12),
            "h": torch.randn(batch, 16),
            "c": torch.randn(batch, 16),
            "context": torch.randn(batch, time, 16),
        },
    ),
    "rsl_rl memory": LibraryClass(
        library="rsl-rl-lib",
        make=lambda: _Recurrent(_of("rsl_rl.modules:RNN", 10, 24, 2)()),
        inputs=lambda batch, time: {
            "x": torch.randn(time, batch, 10),
            "h": _state(2, 24)(batch),
            "c": _state(2, 24)(batch),
        },
    ),
    "sb3-contrib recurrent PPO actor": LibraryClass(
        library="sb3-contrib",
        make=_policy,
        inputs=lambda batch, _: {
            "obs": torch.randn(batch, 6),
            "h": _state(1, 24)(batch),
            "c": _state(1, 24)(batch),
        },
        sizes=((1, 9), (3, 9), (5, 9)),
    ),
    "torchrl LSTM": LibraryClass(
        library="torchrl",
        make=_of("torchrl.modules.tensordict_module.rnn:LSTM", 10, 24),
        inputs=_frames("input", 10),
    ),
    "torchrl GRU": LibraryClass(
        library="torchrl",
        make=_of("torchrl.modules.tensordict_module.rnn:GRU", 10, 24, 2),
        inputs=_frames("input", 10),
    ),
    "asteroid LSTMTasNet": LibraryClass(
        library="asteroid",
        make=_of("asteroid.models:LSTMTasNet", 2, n_layers=2, hid_size=24, n_filters=16, dropout=0.0),
        inputs=_wave("wav", 1, 400, 40),
    ),
    "asteroid DPRNN": LibraryClass(
        library="asteroid",
        make=_of("asteroid.masknn.recurrent:DPRNN", 16, 2, bn_chan=16, hid_size=16, chunk_size=10, n_repeats=2),
        inputs=lambda batch, time: {"mixture_w": torch.rand(batch, 16, 20 + 10 * time)},
    ),
    "asteroid StackedResidualRNN": LibraryClass(
        library="asteroid",
        make=_of("asteroid.masknn.recurrent:StackedResidualRNN", "LSTM", 20, 3),
        inputs=_frames("x", 20),
    ),
    "asteroid MulCatRNN": LibraryClass(
        library="asteroid",
        make=_of("asteroid.masknn.recurrent:MulCatRNN", "GRU", 20, 16, bidirectional=True),
        inputs=_frames("inp", 20),
    ),
    "Open-Unmix": LibraryClass(
        library="openunmix",
        make=_of("openunmix.model:OpenUnmix", 65, 2, 32, 2, max_bin=40),
        inputs=lambda batch, time: {"x": torch.rand(batch, 2, 65, time)},
    ),
    "ESPnet RNN encoder": LibraryClass(
        library="espnet",
        make=lambda: _WithLengths(
            _of(
                "espnet2.asr.encoder.rnn_encoder:RNNEncoder",
                20,
                num_layers=2,
                hidden_size=16,
                output_size=16,
                subsample=None,
            )()
        ),
        inputs=lambda batch, time: {"x": torch.randn(batch, time, 20), "lengths": _lengths(batch, time)},
    ),
    "ESPnet transducer decoder": LibraryClass(
        library="espnet",
        make=_of("espnet2.asr_transducer.decoder.rnn_decoder:RNNDecoder", 60, 16, 24, "lstm", 2),
        inputs=_tokens("labels", 60),
    ),
    "ESPnet language model": LibraryClass(
        library="espnet",
        make=lambda: _TaggedStates(_of("espnet2.lm.seq_rnn_lm:SequentialRNNLM", 60, 24, nlayers=2)()),
        inputs=lambda batch, time: {
            "tokens": torch.randint(0, 60, (batch, time)),
            "h": _state(2, 24)(batch),
            "c": _state(2, 24)(batch),
        },
    ),
    "ESPnet separator": LibraryClass(
        library="espnet",
        make=lambda: _Separator(_of("espnet2.enh.separator.rnn_separator:RNNSeparator", 33, layer=2, unit=16)()),
        inputs=lambda batch, time: {"x": torch.rand(batch, time, 33), "lengths": _lengths(batch, time)},
    ),
    "ESPnet DPRNN separator": LibraryClass(
        library="espnet",
        make=lambda: _Separator(
            _of("espnet2.enh.separator.dprnn_separator:DPRNNSeparator", 16, layer=1, unit=16, segment_size=10)()
        ),
        inputs=lambda batch, time: {"x": torch.rand(batch, time + 20, 16), "lengths": torch.full((batch,), time + 20)},
    ),
    "ESPnet Tacotron2 encoder": LibraryClass(
        library="espnet",
        make=lambda: _WithLengths(
            _of(
                "espnet.nets.pytorch_backend.tacotron2.encoder:Encoder",
                40,
                embed_dim=16,
                eunits=16,
                econv_layers=2,
                econv_chans=16,
            )()
        ),
        inputs=lambda batch, time: {"x": torch.randint(1, 40, (batch, time)), "lengths": _lengths(batch, time)},
    ),
    "Coqui speaker encoder": LibraryClass(
        library="coqui-tts",
        make=_of("TTS.encoder.models.lstm:LSTMSpeakerEncoder", 40, 16, 24, 2),
        inputs=_channels("x", 40),
    ),
    "Coqui Tacotron2 encoder": LibraryClass(
        library="coqui-tts",
        make=_of("TTS.tts.layers.tacotron.tacotron2:Encoder", 32),
        inputs=lambda batch, time: {"x": torch.randn(batch, 32, time), "input_lengths": _lengths(batch, time)},
    ),
    "Coqui CBHG": LibraryClass(
        library="coqui-tts",
        make=_of(
            "TTS.tts.layers.tacotron.tacotron:CBHG",
            16,
            K=4,
            conv_bank_features=16,
            conv_projections=[16, 16],
            highway_features=16,
            gru_features=16,
        ),
        inputs=_channels("inputs", 16),
    ),
    "EnCodec SLSTM": LibraryClass(
        library="encodec", make=_of("encodec.modules.lstm:SLSTM", 24), inputs=_channels("x", 24)
    ),
    "EnCodec SEANet encoder": LibraryClass(
        library="encodec",
        make=_of("encodec.modules.seanet:SEANetEncoder", dimension=16, n_filters=4, ratios=[4, 2], causal=True),
        inputs=_wave("x", 1, 256, 8),
    ),
    "GluonTS DeepAR": LibraryClass(
        library="gluonts", make=_deepar, inputs=_deepar_inputs, sizes=((1, 9), (3, 9), (5, 9))
    ),
    "Resemblyzer voice encoder": LibraryClass(library="Resemblyzer", make=_voice_encoder, inputs=_frames("mels", 40)),
    "darts RNN": LibraryClass(
        library="darts",
        make=_forecaster(
            "darts.models.forecasting.rnn_model:_RNNModule",
            name="LSTM",
            input_size=3,
            hidden_dim=16,
            num_layers=2,
            target_size=3,
            dropout=0.0,
        ),
        inputs=_frames("x", 3),
    ),
    "ncps CfC": LibraryClass(library="ncps", make=_of("ncps.torch:CfC", 8, 16), inputs=_frames("input", 8)),
    "ncps LTC": LibraryClass(library="ncps", make=_of("ncps.torch:LTC", 8, 16), inputs=_frames("input", 8)),
}
