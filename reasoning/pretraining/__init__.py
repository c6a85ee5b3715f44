"""The shared pretraining module for language models: one loop, one data order, one metric."""
