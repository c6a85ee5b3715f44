"""What leaves for other programs: exported files, the evaluation harness's model."""
