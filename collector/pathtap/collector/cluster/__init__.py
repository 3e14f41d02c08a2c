"""Who is who: pods, nodes and services as the API has them, and what a person wrote against them."""
