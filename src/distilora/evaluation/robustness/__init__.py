"""How much worse a model gets where people disguise or mistype their words."""
