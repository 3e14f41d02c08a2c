"""Who may: identities by TokenReview or client certificate, permissions by SubjectAccessReview, and what may be seen."""
