"""Linear text classifiers: trained on the user's own examples, fast enough to score every document of a corpus."""
