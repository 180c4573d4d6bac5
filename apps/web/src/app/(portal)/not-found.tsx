import { NothingHere } from '../../components/shell/NothingHere.tsx';

export default function NotFound() {
  return <NothingHere />;
}
