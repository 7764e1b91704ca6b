"""How far score and status can be trusted."""
