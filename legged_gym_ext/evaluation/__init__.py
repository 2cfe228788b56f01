"""Playing a trained policy and counting how its episodes end."""
