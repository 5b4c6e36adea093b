"""Whole models: traced by torch.export with their recurrent layers opaque, each of which then becomes a formulation."""
