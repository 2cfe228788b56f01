"""Networks: the teachers, the depth encoder, the student that carries it, and the student as PPO trains it."""
