"""Two senses: one network that hears spoken digits and sees written ones, beside a specialist for each."""
