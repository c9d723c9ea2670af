"""From finished runs and what was measured of them to the numbers of a comparison."""
