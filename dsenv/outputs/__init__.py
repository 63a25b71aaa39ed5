"""What can be made of install steps: an environment in a project, an image. They read steps and know no ecosystem."""
