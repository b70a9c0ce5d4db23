"""What the user writes: YAML to frozen models, and from there to a ScalingSpec and a Workload."""
