"""What each layer of a trained teacher knows: probes, similarities between layers, and what is lost without one."""
