"""The bilevel methods: a student, a teacher and an upper loss in every fold."""
