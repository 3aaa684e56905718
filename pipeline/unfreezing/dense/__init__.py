"""Training networks end to end on masks and boxes, from heads of maps, scored at the pictures' own size."""
