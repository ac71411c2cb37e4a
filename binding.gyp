{
  # For node-gyp, and for what looks for this file to tell a native package: the work is CMake's, by the same script as
  # `npm run build`.
  'targets': [
    {
      'target_name': 'ddpm',
      'type': 'none',
      'actions': [
        {
          'action_name': 'build',
          'message': 'Building the native addon with CMake',
          'inputs': ['CMakeLists.txt'],
          # A file that is never made, so that the script always runs: it knows what is up to date.
          'outputs': ['<(INTERMEDIATE_DIR)/always'],
          'action': ['node', 'scripts/build.mjs'],
        },
      ],
    },
  ],
}
