"""Networks: the teachers that PPO trains, the depth encoder, and the student that carries it."""
