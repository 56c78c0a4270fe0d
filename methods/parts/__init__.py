"""What several methods share: embeddings, greedy maximisers, scores, allocation."""
