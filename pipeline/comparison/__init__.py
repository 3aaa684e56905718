"""The leaderboard and its statistics: intervals, significance tests, slices, recommendations."""
