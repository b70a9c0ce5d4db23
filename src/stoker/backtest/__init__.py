"""What a ScaledObject would have done with recorded metric values."""
