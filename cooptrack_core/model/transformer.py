"""Post-norm transformer decoder stack with positional encodings added to queries and keys (spec 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.linear import linear
from cooptrack_core.model.presets import ModelConfig


def attend(
    attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None = None
) -> Tensor:
    """The module's own result, [B, Q, C], without its copies: query [B, Q, C]; key, value [B, S, C].

    padding [B, S] bool, True: ignore. The softmax over a single key is 1 and then neither query nor key matters.
    """
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    dropout = attention.dropout if attention.training else 0.0

    def project(x: Tensor) -> Tensor:
        return linear(x, attention.out_proj.weight, attention.out_proj.bias)

    v = linear(value, weights[2], biases[2])  # [B, S, C]
    if v.shape[1] == 1 and dropout == 0.0 and padding is None:
        return project(v).expand_as(query)

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], attention.num_heads, attention.head_dim).transpose(1, 2)  # [B, heads, ., C]

    if query is key:  # one product of matrices instead of two
        both = 2 * query.shape[-1]
        q, k = linear(query, attention.in_proj_weight[:both], attention.in_proj_bias[:both]).chunk(2, dim=-1)
    else:
        q = linear(query, weights[0], biases[0])  # [B, Q, C]
        k = linear(key, weights[1], biases[1])  # [B, S, C]
    seen = None if padding is None else ~padding[:, None, None]  # [B, 1, 1, S]
    attended = functional.scaled_dot_product_attention(split(q), split(k), split(v), seen, dropout)
    return project(attended.transpose(1, 2).flatten(-2))


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward net, each added to its input and then normalised."""

    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dims, heads, dropout, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(dims, heads, dropout, batch_first=True)
        self.ffn = FeedForward(dims, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, query_pos: Tensor, memory: Tensor, key_pos: Tensor, padding: Tensor | None = None
    ) -> Tensor:
        """x, query_pos [B, Q, C]; memory, key_pos [B, S, C]; padding [B, S] bool, True: ignore -> [B, Q, C]."""
        placed = x + query_pos
        x = self.norms[0](x + self.dropout(attend(self.self_attention, placed, placed, x)))
        attended = attend(self.cross_attention, x + query_pos, memory + key_pos, memory, padding)
        x = self.norms[1](x + self.dropout(attended))
        return self.norms[2](x + self.ffn(x))


class TransformerStack(nn.Module):
    """Layers of equal shape and a last LayerNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(config.embed_dims, config.num_heads, config.reasoner_ffn, config.dropout)
            for _ in range(config.reasoner_layers)
        )
        self.norm = nn.LayerNorm(config.embed_dims)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, x: Tensor, query_pos: Tensor, memory: Tensor, key_pos: Tensor, padding: Tensor | None = None
    ) -> Tensor:
        """Shapes as in TransformerLayer; memory and encodings are the same for every layer -> [B, Q, C]."""
        for layer in self.layers:
            x = layer(x, query_pos, memory, key_pos, padding)
        return self.norm(x)
