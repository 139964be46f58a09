"""What the command line offers beside the Trainer's own verbs, one file each."""
