"""Which method helps, by how much: the same student trained with and without teachers."""
