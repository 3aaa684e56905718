"""New items of a generative backbone: contact sheets and how good they are."""
