"""Post-norm transformer decoder stack with positional encodings added to queries and keys (spec 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.presets import ModelConfig


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
        x = self.norms[0](x + self.dropout(self._attend_to_self(x, query_pos)))
        query, key = x + query_pos, memory + key_pos
        attended = self.cross_attention(query, key, memory, key_padding_mask=padding, need_weights=False)[0]
        x = self.norms[1](x + self.dropout(attended))
        return self.norms[2](x + self.ffn(x))

    def _attend_to_self(self, x: Tensor, pos: Tensor) -> Tensor:
        attention = self.self_attention
        if x.shape[1] == 1 and not self.training:
            # The softmax over one key is 1: what is left is the projection of the value.
            dims = x.shape[-1]
            value = functional.linear(x, attention.in_proj_weight[2 * dims :], attention.in_proj_bias[2 * dims :])
            return attention.out_proj(value)
        query = x + pos
        return attention(query, query, x, need_weights=False)[0]


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
